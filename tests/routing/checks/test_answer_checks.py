"""Verification asks for no more than it needs, and never accepts a fault."""

from msgspec.structs import replace
from tests.routing.conftest import WEATHER, ask, call, say

from renga.protocols.messages.events.event_types import Evidence
from renga.routing.checks.agreement import AnswerKind
from renga.routing.checks.answer_checks import (
    CheckCase,
    CheckFinding,
    CheckPolicy,
    CheckVerdict,
    Judgement,
    SecondOpinion,
    verify,
)
from renga.routing.checks.calibration import Isotonic, Platt

QUESTION = ask("How many eggs?")
CASE = CheckCase(QUESTION, say("#### 18"))
CURVES = {"logprob": Platt(10.0, 3.0)}


def find(*texts: str) -> tuple[CheckFinding, ...]:
    return tuple(CheckFinding(*text.split(":", 1)) for text in texts)  # type: ignore[arg-type]


def test_a_fault_settles_it() -> None:
    verdict = verify(replace(CASE, answer=say("", "max_tokens")), CheckPolicy())
    assert verdict == CheckVerdict(False, 0.0, find("structural:max_tokens"), 0)


def test_sure_log_probabilities_need_nothing_more() -> None:
    verdict = verify(replace(CASE, evidence=Evidence(-0.01, -0.1, 12)), CheckPolicy(curves=CURVES))  # type: ignore[arg-type]
    assert verdict.accept
    assert [finding.text for finding in verdict.findings] == ["structural:ok", "logprob:0.95"]


def test_hopeless_log_probabilities_buy_no_second_answer() -> None:
    verdict = verify(replace(CASE, evidence=Evidence(-2.0, -9.0, 12)), CheckPolicy(curves=CURVES))  # type: ignore[arg-type]
    assert (verdict.accept, verdict.needs) == (False, None)


def test_log_probabilities_without_a_curve_do_not_accept() -> None:
    verdict = verify(replace(CASE, evidence=Evidence(-0.001, -0.1, 12)), CheckPolicy())
    assert (verdict.accept, verdict.needs) == (False, "second")


def test_a_second_answer_that_agrees_accepts() -> None:
    verdict = verify(replace(CASE, seconds=(SecondOpinion(say("The answer is 18."), 70),)), CheckPolicy())
    assert verdict == CheckVerdict(
        True, 1.0, find("structural:ok", "logprob:none", "agreement:number=1.00"), 70, agreement=1.0
    )


def test_a_second_that_disagrees_is_followed_by_another_only_where_allowed() -> None:
    disputed = replace(CASE, seconds=(SecondOpinion(say("#### 19"), 70),))
    assert verify(disputed, CheckPolicy()).accept is False
    assert verify(disputed, CheckPolicy(seconds_max=2)).needs == "second"


def test_the_next_second_counts_half_and_its_curve_decides() -> None:
    case = replace(CASE, seconds=(SecondOpinion(say("#### 19"), 70), SecondOpinion(say("#### 18"), 30)))
    trusting = CheckPolicy(seconds_max=2, curves={"agreement": Isotonic((0.0, 0.5, 1.0), (0.3, 0.92, 0.98))})
    assert verify(case, CheckPolicy(seconds_max=2)).confidence == 0.5
    assert verify(case, trusting) == CheckVerdict(
        True, 0.92, find("structural:ok", "logprob:none", "agreement:number=0.50"), 100, agreement=0.5
    )


def test_a_judge_is_asked_last_and_has_the_last_word() -> None:
    policy = CheckPolicy(checks=("structural", "agreement", "judge"))
    disputed = replace(CASE, seconds=(SecondOpinion(say("#### 19"), 70),))
    assert verify(disputed, policy).needs == "judgement"
    judged = verify(replace(disputed, judgement=Judgement(0.97, 400)), policy)
    assert (judged.accept, judged.cost_nano_usd) == (True, 470)


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    assert verify(replace(CASE, seconds=(SecondOpinion(say("#### 18"), None),)), CheckPolicy()).cost_nano_usd is None


def test_structure_alone_accepts_only_with_its_curve() -> None:
    policy = CheckPolicy(checks=("structural",))
    assert not verify(CASE, policy).accept
    assert verify(CASE, replace(policy, curves={"structural": Isotonic((1.0,), (0.95,))})).accept


def test_tool_calls_are_compared_by_name_and_arguments() -> None:
    case = CheckCase(ask("Weather?", tools=(WEATHER,)), call("get_weather", b'{"city": "Porto"}'))
    policy = CheckPolicy(kind=AnswerKind.JSON)
    same, other = call("get_weather", b'{ "city":"porto" }'), call("get_weather", b'{"city": "Oslo"}')
    assert verify(replace(case, seconds=(SecondOpinion(same, 0),)), policy).accept
    assert not verify(replace(case, seconds=(SecondOpinion(other, 0),)), policy).accept
