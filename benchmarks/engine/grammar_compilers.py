"""Renga's compiler of JSON schemas to grammars beside xgrammar's and OpenVINO GenAI's own, on the same schemas.

    python -m benchmarks.engine.grammar_compilers [--suite FOLDER] [--drawn 200] [--genai 60]

Every compiler ends in a grammar of xgrammar, so one matcher judges them all. Two sets of schemas: drawn by the strategy
of this repository's own grammar test, whose grammars are sampled at random and each text validated; and, with --suite,
the JSON Schema Test Suite (draft 2020-12), whose valid instances should be accepted and invalid ones must not be.
GenAI has no matcher: `json_schema` is judged by what hokku writes under it at a high temperature. Times are ratios
within the run, with hokku's vocabulary.

Needs `pip install xgrammar` (it brings torch) and the extra `dev`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from renga.errors import InvalidRequest
from renga.models.engine.grammar.ebnf import GrammarRules
from renga.models.engine.grammar.json_schema import SchemaWriter

ROOT = Path(__file__).parents[2]
WALKS = 4
"""Texts that are sampled from each grammar of a drawn schema."""
WALK_BYTES = 20_000
PATIENT_BYTES = 300
"""After so many bytes a walk ends whatever it can end."""
GENAI_TOKENS = 400


@dataclass(frozen=True)
class Instance:
    """One JSON text of the suite and whether its schema accepts it."""

    text: str
    valid: bool


@dataclass(frozen=True)
class Case:
    """One schema, with the instances that the suite has for it."""

    name: str
    schema: Any
    instances: tuple[Instance, ...] = ()


@dataclass
class Tally:
    """What became of the schemas of one set under one compiler."""

    schemas: Counter[str] = field(default_factory=Counter[str])
    """right, wrong, refused, crashed (an error that is no refusal), stuck (no text comes to its end)."""
    valid: int = 0
    valid_accepted: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    """Why texts were wrong, by the number of schemas."""
    wrong_names: list[str] = field(default_factory=list[str])
    times_s: dict[str, float] = field(default_factory=dict[str, float])


def write_ours(schema: Any) -> str:
    """The grammar that the engine would be given for `output_config.format`."""
    rules = GrammarRules()
    return rules.text(SchemaWriter(rules).write(schema, "schema"))


class Compilers:
    """The compilers by name, over a vocabulary."""

    def __init__(self, xgrammar: Any, vocabulary: list[bytes], stop: int) -> None:
        info = xgrammar.TokenizerInfo(vocabulary, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[stop])
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.by_name: dict[str, Callable[[Any], Any]] = {
            "renga": lambda schema: self._compiler.compile_grammar(write_ours(schema)),
            "xgrammar": lambda schema: self._compiler.compile_json_schema(json.dumps(schema), any_whitespace=False),
        }


def draw_schemas(count: int) -> list[Case]:
    """Schemas of the strategy that the repository's grammar test uses."""
    from hypothesis import HealthCheck, Phase, given, settings

    path = next((ROOT / "tests").rglob("test_grammar.py"))
    sys.path.insert(0, str(ROOT))
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    drawn: list[Any] = []

    @settings(
        max_examples=count * 2,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
    )
    @given(module.schemas)
    def keep(schema: Any) -> None:
        if schema not in drawn and ("$ref" not in str(schema) or "$defs" in schema):
            drawn.append(schema)

    keep()
    return [Case(f"drawn {index}", schema) for index, schema in enumerate(drawn[:count])]


def read_suite(folder: Path) -> Iterator[Case]:
    """The schemas of the suite's required tests."""
    for path in sorted((folder / "tests" / "draft2020-12").glob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            instances = tuple(
                Instance(json.dumps(test["data"], separators=(",", ":"), ensure_ascii=False), test["valid"])
                for test in group["tests"]
            )
            yield Case(f"{path.stem}: {group['description']}", group["schema"], instances)


def accepts(xgrammar: Any, compiled: Any, text: str) -> bool:
    """Whether the grammar has exactly this text."""
    matcher = xgrammar.GrammarMatcher(compiled)
    return bool(matcher.accept_string(text)) and bool(matcher.is_completed())


def walk(xgrammar: Any, compiled: Any, rng: random.Random) -> bytes | None:
    """A random text of the grammar, byte by byte; None where it does not come to its end."""
    matcher = xgrammar.GrammarMatcher(compiled)
    mask = xgrammar.allocate_token_bitmask(1, 257)
    written = bytearray()
    while len(written) < WALK_BYTES:
        if matcher.is_completed() and (len(written) > PATIENT_BYTES or rng.random() < 0.3):
            return bytes(written)
        matcher.fill_next_token_bitmask(mask)
        words = mask[0].tolist()
        allowed = [byte for byte in range(256) if words[byte // 32] >> (byte % 32) & 1]
        if not allowed:
            return bytes(written) if matcher.is_completed() else None
        closing = [byte for byte in allowed if byte in b'"}]']
        byte = rng.choice(closing if closing and (len(written) > PATIENT_BYTES or rng.random() < 0.2) else allowed)
        matcher.accept_string(bytes([byte]))
        written.append(byte)
    return None


def find_fault(schema: Any, text: bytes | str) -> str | None:
    """Why a text is not what the schema asks for: its encoding, its syntax, or the keyword it breaks; None: it is."""
    import jsonschema

    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text)
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "not JSON"
    errors = jsonschema.Draft202012Validator(schema, format_checker=checker).iter_errors(value)
    return next((str(error.validator) for error in errors), None)


def note_texts(case: Case, texts: list[Any], tally: Tally) -> None:
    """Count a schema by the texts that were written under its grammar."""
    if None in texts:
        tally.schemas["stuck"] += 1
        return
    faults = {fault for text in texts if (fault := find_fault(case.schema, text))}
    tally.schemas["wrong" if faults else "right"] += 1
    tally.faults.update(faults)
    if faults:
        tally.wrong_names.append(f"{case.name}: {', '.join(sorted(faults))}: {json.dumps(case.schema)}")


def judge(xgrammar: Any, compile_schema: Callable[[Any], Any], case: Case, tally: Tally) -> None:
    """Compile one schema and hold the grammar against instances or samples."""
    try:
        compiled = compile_schema(case.schema)
    except (InvalidRequest, RuntimeError, ValueError):
        tally.schemas["refused"] += 1
        return
    except Exception as error:
        tally.schemas["crashed"] += 1
        tally.wrong_names.append(f"{case.name}: {error!r}")
        return
    if case.instances:
        accepted = [(each, accepts(xgrammar, compiled, each.text)) for each in case.instances]
        tally.valid += sum(each.valid for each, _ in accepted)
        tally.valid_accepted += sum(each.valid and taken for each, taken in accepted)
        wrong = any(taken and not each.valid for each, taken in accepted)
        tally.schemas["wrong" if wrong else "right"] += 1
        if wrong:
            tally.wrong_names.append(case.name)
    else:
        rng = random.Random(case.name)
        note_texts(case, [walk(xgrammar, compiled, rng) for _ in range(WALKS)], tally)


def time_compilers(cases: list[Case], compilers: Compilers, tallies: dict[str, Tally]) -> None:
    """The time of each compiler, in turn, for schemas that none of them refuses."""
    for case in cases:
        took: dict[str, float] = {}
        for name, compile_schema in compilers.by_name.items():
            start = time.perf_counter()
            try:
                compile_schema(case.schema)
            except Exception:
                break
            took[name] = time.perf_counter() - start
        if len(took) == len(compilers.by_name):
            for name, seconds in took.items():
                tallies[name].times_s[case.name] = seconds


def judge_genai(cases: list[Case]) -> tuple[Tally, Tally]:
    """What hokku writes under GenAI's `json_schema`, and under our grammar in the same pipeline."""
    from renga.models.engine.loading.model_loader import load_model
    from renga.models.engine.pipeline import load_batching

    model = load_model("hokku")
    pipeline = load_batching(model.engine_config())
    theirs, ours = Tally(), Tally()
    prompt = model.vocabulary.encode("A JSON value:", parse_special=False)
    for case in cases:
        for tally in (theirs, ours):
            try:
                bound = (
                    {"json_schema": json.dumps(case.schema)}
                    if tally is theirs
                    else {"grammar": write_ours(case.schema)}
                )
                texts = _generate(pipeline, model, prompt, bound)
            except (InvalidRequest, RuntimeError, ValueError) as error:
                tally.schemas["refused"] += 1
                tally.wrong_names.append(f"{case.name}: {error!r:.200}")
                pipeline = load_batching(
                    model.engine_config()
                )  # one whose step has failed keeps the request that broke it
                continue
            note_texts(case, texts, tally)
    return theirs, ours


def _generate(pipeline: Any, model: Any, prompt: list[int], bound: dict[str, str]) -> list[str | None]:
    """Texts under the same bound, drawn beside each other; None for one that did not end."""
    import numpy as np
    import openvino as ov
    import openvino_genai as genai

    stops = model.engine_config().stop_token_ids
    handles: list[Any] = []
    for seed in range(WALKS):
        config = genai.GenerationConfig()
        config.max_new_tokens, config.do_sample, config.temperature, config.rng_seed = GENAI_TOKENS, True, 1.5, seed
        config.stop_token_ids, config.eos_token_id = set(stops), min(stops)
        config.structured_output_config = genai.StructuredOutputConfig(**bound)
        handles.append(pipeline.add_request(seed, ov.Tensor(np.array([prompt], dtype=np.int64)), config))
    while pipeline.has_non_finished_requests():
        pipeline.step()
    texts: list[str | None] = []
    for handle in handles:
        (output,) = handle.read_all()
        ended = output.finish_reason == genai.GenerationFinishReason.STOP
        kept = [token for token in output.generated_ids if token not in stops]
        texts.append(model.vocabulary.decode(kept) if ended else None)
    return texts


def report(title: str, tallies: dict[str, Tally]) -> None:
    """One table."""
    print(f"\n## {title}\n")
    print("| compiler | schemas | right | wrong | refused | crashed | no end | valid instances accepted | time |")
    print("|---|---|---|---|---|---|---|---|---|")
    base = tallies.get("xgrammar")
    for name, tally in tallies.items():
        counts = tally.schemas
        valid = f"{tally.valid_accepted / tally.valid:.2f} of {tally.valid}" if tally.valid else "-"
        ratio = "-"
        if base is not None and tally.times_s:
            ratios = [tally.times_s[case] / base.times_s[case] for case in base.times_s]
            total = sum(tally.times_s.values()) / sum(base.times_s.values())
            ratio = f"{statistics.median(ratios):.2f} x, sum {total:.2f} x"
        print(
            f"| {name} | {sum(counts.values())} | {counts['right']} | {counts['wrong']} | {counts['refused']} "
            f"| {counts['crashed']} | {counts['stuck']} | {valid} | {ratio} |"
        )
    for name, tally in tallies.items():
        if tally.faults:
            print(f"\n{name} wrote texts that break:", ", ".join(f"{why} {n}" for why, n in tally.faults.most_common()))


def list_wrong(tallies: dict[str, Tally], is_wanted: bool) -> None:
    """The schemas behind the counts, where they are asked for."""
    for name, tally in tallies.items() if is_wanted else ():
        print(f"\n{name}:", *tally.wrong_names, sep="\n- ")


def main() -> None:
    parser = argparse.ArgumentParser(description="measure compilers of JSON schemas to grammars")
    parser.add_argument("--suite", type=Path, help="folder of the JSON Schema Test Suite, with tests/draft2020-12")
    parser.add_argument("--drawn", type=int, default=200, help="schemas of the repository's own test")
    parser.add_argument("--genai", type=int, default=0, help="of these, so many also through GenAI's json_schema")
    parser.add_argument("--names", action="store_true", help="list the schemas that came out wrong")
    options = parser.parse_args()
    try:
        xgrammar: Any = importlib.import_module("xgrammar")
    except ImportError:
        sys.exit("benchmarks.engine.grammar_compilers needs xgrammar: pip install xgrammar")
    single = Compilers(xgrammar, [bytes([byte]) for byte in range(256)] + [b"<stop>"], 256)
    sets = {"Schemas of the repository's own test": draw_schemas(options.drawn)}
    if options.suite:
        sets["JSON Schema Test Suite, draft 2020-12"] = list(read_suite(options.suite))
    real = _hokku_compilers(xgrammar)
    for title, cases in sets.items():
        tallies = {name: Tally() for name in single.by_name}
        for case in cases:
            for name, compile_schema in single.by_name.items():
                judge(xgrammar, compile_schema, case, tallies[name])
        time_compilers(cases, real, tallies)
        report(title, tallies)
        list_wrong(tallies, options.names)
    if options.genai:
        cases = next(iter(sets.values()))[: options.genai]
        theirs, ours = judge_genai(cases)
        tallies = {"GenAI json_schema": theirs, "renga": ours}
        report("Written by hokku in GenAI's pipeline", tallies)
        list_wrong(tallies, options.names)


def _hokku_compilers(xgrammar: Any) -> Compilers:
    from renga.models.engine.loading.model_loader import load_model

    model = load_model("hokku")
    tokens = [model.vocabulary.token_bytes(token) for token in range(model.vocabulary.size)]
    return Compilers(xgrammar, tokens, model.engine_config().stop_token_ids[0])


if __name__ == "__main__":
    main()
