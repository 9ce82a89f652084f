"""THE path of a request: reserve, plan, send, settle. Every surface enters here, by `answer`."""

from renga.answer.events import Answer, AnswerEvents
from renga.answer.parts import Ask, Parts
from renga.answer.passage import Passage
from renga.answer.path import answer, count_tokens

__all__ = ["Answer", "AnswerEvents", "Ask", "Parts", "Passage", "answer", "count_tokens"]
