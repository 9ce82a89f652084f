"""What a suite is made of: cases, answers, and who answers.

Owns:   the values that pass between suites, clients and reports, and the Answerer seam.
Knows:  nothing of HTTP, of models or of any one suite.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class EvalCase:
    """One request and what a right answer to it is."""

    messages: tuple[tuple[str, str], ...]
    "(role, text); the last is the user's."
    expected: Any
    "A label, an object, a (tool, arguments) pair, a text: what the suite's `score` wants."
    system: str = ""
    options: tuple[str, ...] = ()
    "The labels in the prompt, for the baselines."
    tools: tuple[Mapping[str, Any], ...] = ()
    "Anthropic's shape: name, description, input_schema. Given, a call is demanded (tool_choice any)."
    schema: Mapping[str, Any] | None = None
    "JSON Schema of the answer (output_config.format)."
    max_tokens: int = 64
    group: str = ""
    "A part of the suite that is also reported alone."
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    "What the support suite's check looks up."

    @property
    def text(self) -> str:
        """The text of the last message, which asks the question."""
        return self.messages[-1][1]


@dataclass(frozen=True, slots=True)
class EvalAnswer:
    """What a model answered to one case, or why it did not."""

    text: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mean_logprob: float | None = None
    "Mean natural log-probability of the answer's tokens: hokku's own confidence."
    error: str = ""
    "Why there is no answer; an error is a wrong answer."


class Answerer(Protocol):
    """Answers cases: a server, or a checkpoint in process."""

    def answer(self, cases: list[EvalCase]) -> list[EvalAnswer]:
        """Answer all, in order. An error becomes an Answer with `error`."""
        ...


@dataclass(frozen=True, slots=True)
class EvalSuite:
    """A named list of cases with one score, a bar and a cheap baseline."""

    name: str
    metric: str
    "accuracy, macro-F1, token F1, exact match"
    bar: float | None
    "What issue 3 asks for; None is reported only."
    draw: Callable[[Random, int], list[EvalCase]]
    "(random, at most how many) -> cases"
    score: Callable[[EvalCase, EvalAnswer], float]
    "0 to 1 for one answer"
    baseline: Callable[[list[EvalCase]], list[tuple[str, float]]] | None = None
    "(name, score) of each cheap baseline on the same cases"
    total: Callable[[list[EvalCase], list[EvalAnswer]], float] | None = None
    "Where the suite's score is not the mean over the cases (macro-F1)."
    calibrated: bool = True
    "Whether its answers count for the calibration figures."
