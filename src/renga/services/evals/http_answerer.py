"""Answers cases through a server's POST /v1/messages.

Owns:   the request's shape and the reading of the answer. Plain urllib in a few threads: no dependency, and what the
        suites measure is the model.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from renga.services.evals.cases import EvalAnswer, EvalCase

TIMEOUT_S = 120.0


def build_request(case: EvalCase, model: str) -> dict[str, Any]:
    """The Messages request of a case: greedy, tools demanded, schema bound."""
    request: dict[str, Any] = {
        "model": model,
        "max_tokens": case.max_tokens,
        "temperature": 0,
        "messages": [{"role": role, "content": text} for role, text in case.messages],
    }
    if case.system:
        request["system"] = case.system
    if case.tools:
        request["tools"] = [dict(tool) for tool in case.tools]
        request["tool_choice"] = {"type": "any", "disable_parallel_tool_use": True}
    if case.schema is not None:
        request["output_config"] = {"format": {"type": "json_schema", "schema": dict(case.schema)}}
    return request


def read_message(message: Mapping[str, Any], *, mean_logprob: float | None) -> EvalAnswer:
    """A Messages answer as the suites see it."""
    texts: list[str] = [block["text"] for block in message["content"] if block["type"] == "text"]
    calls: list[dict[str, Any]] = [block for block in message["content"] if block["type"] == "tool_use"]
    if calls:
        return EvalAnswer("".join(texts), calls[0]["name"], calls[0]["input"], mean_logprob)
    return EvalAnswer("".join(texts), mean_logprob=mean_logprob)


@dataclass(frozen=True, slots=True)
class HttpAnswerer:
    """A server that speaks the Messages API."""

    base_url: str
    api_key: str
    model: str = "hokku"
    concurrency: int = 4

    def answer(self, cases: list[EvalCase]) -> list[EvalAnswer]:
        """Answer all, `concurrency` at a time."""
        with ThreadPoolExecutor(self.concurrency) as threads:
            return list(threads.map(self._answer_one, cases))

    def _answer_one(self, case: EvalCase) -> EvalAnswer:
        body = json.dumps(build_request(case, self.model)).encode()
        headers = {
            "content-type": "application/json",
            "x-api-key": self.api_key,
            "anthropic-version": "2023-06-01",
        }
        request = urllib.request.Request(f"{self.base_url}/v1/messages", body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                header = response.headers.get("renga-mean-logprob")
                return read_message(json.load(response), mean_logprob=float(header) if header else None)
        except urllib.error.HTTPError as error:
            return EvalAnswer(error=f"{error.code}: {error.read()[:300].decode(errors='replace')}")
        except (OSError, ValueError) as error:
            return EvalAnswer(error=f"{type(error).__name__}: {error}")
