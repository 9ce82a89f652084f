"""Faults that an answer shows by itself; good answers pass."""

import pytest
from tests.routing.conftest import WEATHER, ask, ask_for_json, call, say

from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.request import MessageRequest, ToolChoiceAny, ToolChoiceNone
from renga.routing.checks.language import guess_language
from renga.routing.checks.structural_check import find_fault

SCHEMA = b'{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}'
GERMAN = "Wie kann ich die Rechnung für den letzten Monat ändern, wenn sie nicht mehr auf dem Konto ist?"
ENGLISH = "You can change the bill of the last month in the settings, but it is not possible to do that for the year."


@pytest.mark.parametrize(
    ("request_", "answer", "fault"),
    [
        (ask("Hi"), say("Hel", "max_tokens"), "finished: max_tokens"),
        (ask("Hi"), say("No.", "refusal"), "finished: refusal"),
        (ask("Hi"), say("  "), "not_empty: no text and no tool call"),
        (
            ask("Hi", tools=(WEATHER,)),
            call("get_time", b"{}"),
            "tool_calls_resolve: get_time is no tool of this request",
        ),
        (ask("Hi", tools=(WEATHER,)), call("get_weather", b"{}"), "tool_calls_resolve: get_weather: value: required"),
        (
            ask("Hi", tools=(WEATHER,)),
            call("get_weather", b'{"city": 3}'),
            "tool_calls_resolve: get_weather: city: type",
        ),
        (
            ask("Hi", tools=(WEATHER,), tool_choice=ToolChoiceAny()),
            say("Sun"),
            "tool_calls_resolve: a tool call was asked",
        ),
        (
            ask("Hi", tools=(WEATHER,), tool_choice=ToolChoiceNone()),
            call("get_weather", b'{"city": "Porto"}'),
            "tool_calls_resolve: no tool call was allowed",
        ),
        (ask_for_json("Age?", SCHEMA), say("about forty"), "follows_schema: not JSON"),
        (ask_for_json("Age?", SCHEMA), say('{"age": "forty"}'), "follows_schema: age: type is not met"),
        (ask("Sue him?"), say("I'm sorry, but I can't help with that."), "answers: says `I can't help`"),
        (ask("Sue him?"), say("This needs a specialist."), "answers: says `needs a specialist`"),
        (ask("Explain the proof in detail."), say("detail"), "says_more_than_a_word: a word where a text"),
        (ask("Could you describe Porto?"), say("A city."), "says_more_than_a_word: a word where a text"),
        (ask("Write"), say("the cat sat on the mat " * 20), "does_not_loop: repeats itself"),
        (ask(GERMAN), say(ENGLISH), "keeps_language: en, not de"),
    ],
)
def test_a_fault_is_found_and_named(request_: MessageRequest, answer: Message, fault: str) -> None:
    assert (find_fault(request_, answer) or "").startswith(fault)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (ask("Hi"), say("Hello! How can I help?")),
        (ask("Hi", tools=(WEATHER,)), call("get_weather", b'{"city": "Porto"}')),
        (ask("Hi", tools=(WEATHER,)), say("It is warm.")),
        (ask_for_json("Age?", SCHEMA), say('```json\n{"age": 40}\n```')),
        (ask_for_json("Age?", b"not a schema"), say("{}")),
        (ask(f"Translate to English: {GERMAN}"), say(ENGLISH)),
        (ask(GERMAN), say("Ja.")),
        (
            ask("Write a story"),
            say(
                "It was a long day, and nobody had much to say. " * 4
                + "Then, at last, he said: I cannot help you any more."
            ),
        ),
        (ask("Explain it in one word."), say("Gravity")),
        (ask("Describe the sky with a single colour."), say("Blue")),
        (ask("Is it true that he wrote a story?"), say("It is true.")),
        (ask("Explain the proof in detail.", system="Pick a label."), say("question")),
        (ask("Explain", tools=(WEATHER,)), say("No.")),
        (ask("It broke"), say("I'm sorry to hear that. Press the button for ten seconds.")),
        (ask("Count"), say(" ".join(str(n) for n in range(300)))),
        (ask("Stop"), say("", "stop_sequence")),
    ],
)
def test_a_sound_answer_passes(request_: MessageRequest, answer: Message) -> None:
    assert find_fault(request_, answer) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        ("Le chat est dans la maison et il ne veut pas sortir avec les autres", "fr"),
        ("Что это такое и почему оно здесь", "cyrillic"),
        ("今日は天気がとてもいいですね、散歩しましょう", "kana"),
        ("x = foo(bar)", None),
        ("", None),
    ],
)
def test_a_language_is_named_where_it_is_certain(text: str, language: str | None) -> None:
    assert guess_language(text) == language
