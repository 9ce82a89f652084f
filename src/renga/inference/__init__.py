"""THE path of a request: reserve, plan, send, settle. Every surface enters here, by `answer`."""

from renga.inference.answer import Answer, AnswerEvents
from renga.inference.execution import RequestExecution
from renga.inference.path import answer, count_tokens
from renga.inference.services import InferenceRequest, Services

__all__ = ["Answer", "AnswerEvents", "InferenceRequest", "RequestExecution", "Services", "answer", "count_tokens"]
