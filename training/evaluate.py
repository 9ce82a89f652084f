"""python -m training.evaluate: the suites of renga.services.evals, through a server or on a checkpoint in process.

With `--url` the suites go through POST /v1/messages. Without it the package (or, with `--checkpoint`,
a checkpoint exported on the way) answers in this process: the same pipeline, no server, no grammars.
"""

import argparse
import json
import os
import pathlib
import tempfile
from typing import Any

from renga.models.engine.ipc import FailedReport, GenerationRequest, SubmitCommand, TokensReport
from renga.models.engine.loading.model_loader import load_model
from renga.models.engine.process import load_engine
from renga.models.engine.text.chat_template import Chat, TemplateMessage, TemplateTool
from renga.services.evals.cases import EvalAnswer, EvalCase
from renga.services.evals.eval_report import DEFAULT_CASES, Calibration, SuiteRow, render_rows, run_suites
from renga.services.evals.http_answerer import HttpAnswerer
from renga.services.evals.speed import measure_speed, render_speed
from training.export import PACKAGE, write_folder, write_package


class PipelineAnswerer:
    """The engine's pipeline in this process, sixteen requests at a time; answers are free text."""

    def __init__(self, package: pathlib.Path, cache: pathlib.Path) -> None:
        self._model = load_model(str(package), cache_folder=cache)
        self._engine = load_engine(self._model.engine_config())

    def answer(self, cases: list[EvalCase]) -> list[EvalAnswer]:
        """Answer all, in order."""
        tokens: dict[int, list[int]] = {index: [] for index in range(len(cases))}
        logprobs: dict[int, list[float]] = {index: [] for index in range(len(cases))}
        errors: dict[int, str] = {}
        for index, case in enumerate(cases):
            prompt = self._model.template.render(_chat(case)).token_ids
            self._engine.handle(
                SubmitCommand(index, GenerationRequest(prompt, max_tokens=case.max_tokens, temperature=0.0))
            )
        while self._engine.busy:
            for report in self._engine.step():
                if isinstance(report, TokensReport):
                    tokens[report.request_id] += report.batch.token_ids
                    logprobs[report.request_id] += report.batch.logprobs
                elif isinstance(report, FailedReport):
                    errors[report.request_id] = report.message
        return [
            _read_answer(self._decode(tokens[index]), logprobs[index], errors.get(index, ""))
            for index in range(len(cases))
        ]

    def _decode(self, token_ids: list[int]) -> str:
        vocabulary = self._model.vocabulary
        return b"".join(vocabulary.token_bytes(token) for token in token_ids).decode("utf-8", errors="replace")


def _chat(case: EvalCase) -> Chat:
    messages = [TemplateMessage("system", case.system)] if case.system else []
    messages += [TemplateMessage("assistant" if role == "assistant" else "user", text) for role, text in case.messages]
    tools = [TemplateTool(tool["name"], tool["description"], tool["input_schema"]) for tool in case.tools]
    return Chat(tuple(messages), tuple(tools))


def _read_answer(text: str, logprobs: list[float], error: str) -> EvalAnswer:
    mean = sum(logprobs) / len(logprobs) if logprobs else None
    if "<tool_call>" in text:
        try:
            call: dict[str, Any] = json.loads(text.partition("<tool_call>")[2].partition("</tool_call>")[0])
            return EvalAnswer(text, call["name"], call["arguments"], mean, error)
        except (ValueError, KeyError, TypeError):
            return EvalAnswer(text, mean_logprob=mean, error=error)
    return EvalAnswer(text, mean_logprob=mean, error=error)


def main() -> None:
    """Run the suites through a server or on a package, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="a server's base address; its key is read from RENGA_API_KEY")
    parser.add_argument("--model", default="hokku")
    parser.add_argument("--checkpoint", type=pathlib.Path, help="evaluate this checkpoint instead of the package")
    parser.add_argument("--cases", type=int, default=DEFAULT_CASES, help="at most so many cases a suite")
    parser.add_argument("--suite", action="append", default=[], help="only suites whose name begins so; repeatable")
    parser.add_argument("--speed", action="store_true", help="also measure speed (with --url)")
    parser.add_argument(
        "--outcomes", type=pathlib.Path, help="write answers' confidence here, for `renga route curves`"
    )
    parser.add_argument("--output", type=pathlib.Path, help="write the table there as well")
    arguments = parser.parse_args()

    def tell(row: SuiteRow) -> None:
        print(render_rows([row]).split("\n", 2)[2], flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if arguments.url:
            answerer = HttpAnswerer(arguments.url, os.environ.get("RENGA_API_KEY", ""), arguments.model)
        else:
            package = PACKAGE / "hokku.zip"
            if arguments.checkpoint:
                package = folder / "hokku.zip"
                write_folder(arguments.checkpoint, folder)
                write_package(folder, package)
            answerer = PipelineAnswerer(package, folder / "cache")
        calibration = Calibration()
        rows = run_suites(
            answerer, cases_most=arguments.cases, names=arguments.suite, told=tell, calibration=calibration
        )
    if arguments.outcomes:
        lines = (json.dumps(outcome) + "\n" for outcome in calibration.outcomes(arguments.model))
        arguments.outcomes.write_text("".join(lines), encoding="utf-8")
    table = render_rows(rows)
    if arguments.speed and arguments.url:
        table += "\n\n" + render_speed(measure_speed(arguments.url, os.environ.get("RENGA_API_KEY", "")))
    print("\n" + table)
    if arguments.output:
        arguments.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
