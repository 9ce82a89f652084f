"""THE path of a request: reserve, plan, send, settle. Every surface enters here, by `answer`."""

from renga.inference.answer import Answer
from renga.inference.execution import Settled
from renga.inference.path import answer, count_tokens
from renga.inference.services import Services
from renga.protocols.messages.inference_request import Caller, InferenceRequest

__all__ = ["Answer", "Caller", "InferenceRequest", "Services", "Settled", "answer", "count_tokens"]
