"""Every suite can be drawn, is the same every time, and knows a right answer from a wrong one."""

import json
from random import Random

import pytest

from renga.services.evals.baselines import overlap_baseline
from renga.services.evals.cases import EvalAnswer, EvalCase, EvalSuite
from renga.services.evals.datasets.locations import DataMissing, missing_reason
from renga.services.evals.eval_report import SUITES, SuiteRow, render_rows, run_suite, run_suites
from renga.services.evals.http_answerer import build_request, read_message
from renga.services.evals.suites.dialogues import draw_desk, draw_prelude, with_order
from renga.services.evals.suites.front_desk import ANSWERS, missing_from, placeholders
from renga.services.evals.suites.invented import draw_call, draw_record
from renga.services.evals.suites.invented_vocabulary import HELD_OUT
from renga.services.evals.suites.objects import is_call, is_object, is_valid

needs_data = pytest.mark.skipif(bool(missing_reason("eval")), reason=missing_reason("eval"))


class Perfect:
    """Answers what is expected, with full confidence; every third case it gets wrong, with less."""

    def answer(self, cases: list[EvalCase]) -> list[EvalAnswer]:
        return [self._answer(case, wrong=index % 3 == 2) for index, case in enumerate(cases)]

    def _answer(self, case: EvalCase, *, wrong: bool) -> EvalAnswer:
        if wrong:
            return EvalAnswer("?", mean_logprob=-2.0)
        if case.tools:
            return EvalAnswer("", *case.expected, mean_logprob=-0.1)
        if case.facts and isinstance(case.expected, str):
            return EvalAnswer(ANSWERS[case.expected][0].format(**case.facts), mean_logprob=-0.1)
        text = json.dumps(case.expected) if isinstance(case.expected, dict) else case.expected
        return EvalAnswer(text if isinstance(text, str) else text[0], mean_logprob=-0.1)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_suite_scores_right_and_wrong(suite: EvalSuite) -> None:
    try:
        cases = suite.draw(Random("7"), 30)
    except DataMissing as missing:
        pytest.skip(missing.sentence())
    assert 20 <= len(cases) <= 30
    assert cases == suite.draw(Random("7"), 30)
    answers = Perfect().answer(cases)
    for index, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        assert suite.score(case, answer) == (0.0 if index % 3 == 2 else 1.0)


@needs_data
def test_report_has_intervals_and_calibration() -> None:
    suites = ("invented", "grounded, desk")
    rows = run_suites(Perfect(), cases_most=30, names=suites)
    assert [row.name for row in rows][-2] == "calibration, AUROC"
    assert rows[0].score == pytest.approx(2 / 3)
    assert rows[0].interval[0] < 2 / 3 < rows[0].interval[1]
    assert "| invented schemas | exact match | 30 | 0.667 |" in render_rows(rows)


def test_errors_count_as_wrong() -> None:
    suite = next(suite for suite in SUITES if suite.name == "invented tools")

    class Broken:
        def answer(self, cases: list[EvalCase]) -> list[EvalAnswer]:
            return [EvalAnswer(error="529: overloaded") for _ in cases]

    row = run_suite(suite, Broken(), cases_most=10)
    assert (row.score, row.errors, row.passed) == (0.0, 10, False)


def test_support_rule_accepts_the_answer_and_misses_what_is_missing() -> None:
    random = Random(1)
    for intent in ANSWERS:
        desk, order = draw_desk(random)
        draw_prelude(random, desk, order)
        answer = desk.answer(intent)
        assert missing_from(answer, intent, desk.facts) == []
        for name in placeholders(intent):
            other = {**desk.facts, name: "something else entirely"}
            assert missing_from(answer, intent, other) == [name]
    assert "an open placeholder" in missing_from("I have cancelled {order}.", "cancel_order", {"order": "x"})


def test_invented_values_stand_in_the_message() -> None:
    random = Random(2)
    for _ in range(200):
        call = draw_call(random, HELD_OUT, tool_count=4)
        assert call.name in {tool.name for tool in call.tools}
        assert all(str(value).lower() in call.message.lower() for value in call.arguments.values())
        record = draw_record(random, HELD_OUT, count=4)
        assert all(str(value).lower() in record.text.lower() for value in record.value.values())


def test_objects_are_compared_exactly() -> None:
    schema = {"type": "object", "properties": {"seats": {"type": "integer"}}}
    case = EvalCase((("user", "x"),), {"seats": 3}, schema=schema)
    assert is_object(case, EvalAnswer('{"seats":3}')) == 1.0
    assert is_object(case, EvalAnswer('{"seats":"3"}')) == 0.0
    assert is_valid(case, EvalAnswer("{}"))
    assert not is_valid(case, EvalAnswer('{"seat":3}'))
    assert not is_valid(case, EvalAnswer('{"seats":'))
    call = EvalCase((("user", "x"),), ("open", {"a": "b"}))
    assert is_call(call, EvalAnswer(tool="open", arguments={"a": "b"})) == 1.0
    assert is_call(call, EvalAnswer(tool="close", arguments={"a": "b"})) == 0.0


def test_request_and_answer_are_messages() -> None:
    tool = {"name": "open", "description": "", "input_schema": {"type": "object"}}
    request = build_request(
        EvalCase((("user", "x"),), "", system="s", tools=(tool,), schema={"type": "object"}), "hokku"
    )
    assert request["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert request["output_config"]["format"]["schema"] == {"type": "object"}
    assert request["temperature"] == 0
    message = {"content": [{"type": "text", "text": "a"}, {"type": "tool_use", "name": "open", "input": {"b": 1}}]}
    assert read_message(message, mean_logprob=-0.5) == EvalAnswer("a", "open", {"b": 1}, -0.5)


def test_overlap_baseline_and_table() -> None:
    cases = [EvalCase((("user", "Where is my card?"),), "card_arrival", options=("card_arrival", "top_up"))]
    assert overlap_baseline(cases) == [("chance", 0.5), ("word overlap", 1.0)]
    row = SuiteRow("x", "accuracy", 1, 0.5, (0.4, 0.6), 0.6, (("chance", 0.5),), (("a", 1.0, 1), ("b", 0.0, 1)))
    assert "| x | accuracy | 1 | 0.500 | 0.400 to 0.600 | 0.60 | **no** | chance 0.500 |" in render_rows([row])
    assert with_order("cancel purchase 123456789 now", "AB-1") == "cancel purchase AB-1 now"
