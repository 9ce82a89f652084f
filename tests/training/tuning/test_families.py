"""What hokku-m is taught: answers that stand in what was given, nothing claimed, nobody handed over."""

import re
from itertools import pairwise
from random import Random

import pytest

DRAWN = 30


def _generators():
    from training.tuning.mixture import MIXTURE

    return [generator for generator, _ in MIXTURE]


@pytest.mark.timeout(180)
def test_every_generator_ends_with_an_answer_and_hands_nobody_over() -> None:
    random = Random(1)
    for generator in _generators():
        for _ in range(4):
            document = generator(random)
            assert document.turns[-1].role == "assistant" and document.family
            answers = " ".join(turn.text for turn in document.turns if turn.role == "assistant" and turn.learned)
            assert not re.search("specialist|hand(ing)? you over|passing (it|you)", answers), generator.__name__


TEXTS = ("desk_passage", "business_passage", "prose_passage", "needles", "paper", "section", "histories")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", TEXTS)
def test_answers_on_texts_stand_in_the_text(name: str) -> None:
    from training.tuning.families import histories, passages

    random = Random(2)
    for _ in range(DRAWN):
        document = getattr(passages, name, histories.histories)(random)
        text = " ".join((document.system + " " + document.turns[0].text).split())
        for turn in document.turns:
            if turn.role == "assistant" and turn.text not in passages.ABSENT:
                values = [turn.text, *turn.text.split(", ")]
                assert any(" ".join(value.split()).lower() in text.lower() for value in values), (turn.text, text)


def test_facts_come_in_many_shapes_and_are_answered_from_them() -> None:
    from training.tuning.families.faq import SHAPES, faq
    from training.tuning.families.topics import TOPICS, draw_fact

    assert len(SHAPES) >= 30
    random = Random(3)
    facts = [draw_fact(random, topic) for topic in random.sample(TOPICS, 5)]
    written = {shape(facts, Random(0)) for shape in SHAPES}
    assert len(written) == len(SHAPES)
    for text in written:
        for fact in facts:
            assert all(part in text for part in fact.parts)
    documents = [faq(random) for _ in range(DRAWN)]
    answers = [turn.text for document in documents for turn in document.turns if turn.role == "assistant"]
    assert sum("I do not know" in answer for answer in answers) > len(answers) / 20
    assert not any(re.search(r"I have (cancelled|sent|started|booked|changed)", answer) for answer in answers)


def test_yes_and_no_follow_from_the_fact_that_is_named() -> None:
    from training.tuning.families import checks

    random = Random(6)
    for _ in range(200):
        _, said, yes, question = checks._list(random)
        named = said.split(" ", 2)[-1]
        asked = next(one for _, _, values, _ in checks.LISTS for one in values.split(", ") if f" {one}" in question)
        assert yes == ((asked in named) != ("extra" in question)), (said, question)
        _, said, yes, question = checks._hours(random)
        first, last = re.findall("|".join(checks.DAYS), said)
        days = checks.DAYS[checks.DAYS.index(first) : checks.DAYS.index(last) + 1]
        opens, closes = (int(hour) for hour in re.findall(r"(\d+) [ap]m", said))
        hour = re.search(r"(\d+) ([ap])m", question)
        open_then = not hour or opens <= int(hour[1]) + 12 * (hour[2] == "p") < closes + 12
        assert yes == (open_then and any(day in question for day in days)), (said, question)


def test_nothing_is_done_before_a_result_says_so() -> None:
    from training.tuning.families.results import EVERYDAY, everyday, missing_argument

    random = Random(4)
    acting = {tool.name for tool in EVERYDAY if tool.acts}
    assert acting >= {"cancel_order", "send_email", "refund_payment"}
    for draw in (everyday, missing_argument):
        for _ in range(DRAWN):
            turns = draw(random).turns
            for before, turn in pairwise(turns):
                if turn.role == "assistant" and re.search(
                    r"I have |is (cancelled|done|sent|booked|refunded)", turn.text
                ):
                    assert before.role == "tool" or "no tool" in turn.text
                if turn.role == "tool":
                    assert before.calls


def test_long_field_lists_are_mostly_absent() -> None:
    import json

    from training.tuning.families.fields import many_fields

    random = Random(5)
    shares: list[float] = []
    for _ in range(DRAWN):
        document = many_fields(random)
        for turn in document.turns:
            if turn.role == "assistant":
                found = [value for value in json.loads(turn.text).values() if value is not None]
                shares.append(len(found))
    assert 1 <= sum(shares) / len(shares) <= 4


def test_test_parts_cannot_be_read() -> None:
    from training.tuning.families.general import read

    for stem in ("scitldr_test", "svamp", "gsm8k_train"):
        with pytest.raises(ValueError, match="may not be trained on"):
            read(stem)


def test_good_answers_end_and_do_not_go_round() -> None:
    from training.tuning.rehearse import instructions, is_good

    assert is_good("Bees make honey and help flowers to grow.", ended=True)
    assert not is_good("Bees make honey and help flowers to grow.", ended=False)
    assert not is_good("I am SmolLM, trained by Hugging Face.", ended=True)
    assert not is_good("Here is one:\n\nSentence 1:\n\nSentence 2:\n", ended=True)
    assert not is_good("one two three " * 5, ended=True)
    assert len(set(instructions(Random(0), 300))) == 300
