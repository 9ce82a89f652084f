"""`renga route calibrate|check|head|curves`: what it proves and fits, and what it refuses."""

from __future__ import annotations

import random
import re

import msgspec
import pytest
from msgspec.structs import replace
from tests.cli.conftest import Shell, read_lines

from renga.routing.certificates.certificate import decode_certificate, encode_certificate
from renga.routing.outcomes.outcome_file import OutcomeRow, RequestSignals, encode_outcomes

NAMES = ["rows", "floor", "confidence", "bound", "threshold", "kept", "saving"]
GOOD = '{"id": "a", "scores": {"haiku": 1, "opus": 1}, "evidence": {"confidence": 0.9}}'


def draw_rows(count: int) -> tuple[OutcomeRow, ...]:
    """Haiku is right more often the surer its evidence is; opus always is."""
    draw = random.Random(7).random
    rows: list[OutcomeRow] = []
    for number in range(count):
        sure = draw()
        right = float(draw() < 1.0 - 0.6 * (1.0 - sure) ** 2)
        evidence = RequestSignals(confidence=sure, triage=-sure)
        costs = {"haiku": 100, "opus": 4_000}
        rows.append(OutcomeRow(f"r{number}", {"haiku": right, "opus": 1.0}, evidence=evidence, costs_nano_usd=costs))
    return tuple(rows)


def write_rows(shell: Shell, rows: tuple[OutcomeRow, ...]) -> None:
    (shell.folder / "outcomes.jsonl").write_bytes(encode_outcomes(rows))


def calibrate(shell: Shell, *arguments: str) -> tuple[int, dict[str, str], str]:
    done = shell.call("route", "calibrate", "--data", "outcomes.jsonl", *arguments)
    return done.code, read_lines(done.out), done.out + done.err


def test_a_certificate_is_proven_written_and_read_back(shell: Shell) -> None:
    write_rows(shell, draw_rows(600))
    done = shell.run("route", "calibrate", "--data", "outcomes.jsonl", "--floor", "2", "-o", "certificate.json")
    assert (done.code, done.err) == (0, "")
    lines = read_lines(done.out)
    assert list(lines) == NAMES
    assert lines["rows"] == "600, all with evidence.confidence"
    assert lines["floor"] == "2 points below opus"
    assert lines["confidence"] == "90 %"
    assert "of what opus alone costs; 90 % interval" in lines["saving"]
    assert done.out.endswith('floor_points = 2\n  certificate = "certificate.json"\n')
    certificate = decode_certificate((shell.folder / "certificate.json").read_bytes())
    assert lines["threshold"] == f"haiku is kept where confidence >= {certificate.threshold:.6g}"
    assert lines["kept"] == f"{100 * certificate.kept_share:.1f} % of requests"
    assert certificate.loss_points < certificate.bound_points <= 2.0
    assert sorted(file.name for file in shell.folder.glob("*.json*")) == ["certificate.json", "outcomes.jsonl"]
    checked = shell.run("route", "check", "certificate.json")
    assert (checked.code, checked.err) == (0, "")
    again = read_lines(checked.out)
    assert list(again) == [*NAMES, "data", "made on"]
    assert {name: again[name] for name in NAMES[1:-1]} == {name: lines[name] for name in NAMES[1:-1]}
    assert again["data"] == f"sha256 {certificate.data_sha256}"
    assert "The seal fits." in checked.out


def test_json_is_the_certificate(shell: Shell) -> None:
    write_rows(shell, draw_rows(600))
    done = shell.call("route", "calibrate", "--data", "outcomes.jsonl", "--json", "-o", "certificate.json")
    assert done.out.encode() == (shell.folder / "certificate.json").read_bytes()
    assert shell.call("route", "check", "certificate.json", "--json").out == done.out


def test_triage_keeps_below_its_threshold_without_a_minus_too_many(shell: Shell) -> None:
    write_rows(shell, draw_rows(600))
    _, by_confidence, _ = calibrate(shell)
    code, by_triage, _ = calibrate(shell, "--ranking", "triage")
    assert code == 0
    kept = by_confidence["threshold"].removeprefix("haiku is kept where confidence >= ")
    assert by_triage["threshold"] == f"haiku is kept where triage <= -{kept}"


def test_models_have_the_names_that_the_file_gives_them(shell: Shell) -> None:
    rows = tuple(replace(row, scores={"s": row.scores["haiku"], "l": 1.0}) for row in draw_rows(600))
    write_rows(shell, rows)
    code, _, text = calibrate(shell)
    assert code == 1
    assert text == "renga: outcomes.jsonl:1: no score for haiku, opus (it has: s, l)\n"
    code, lines, _ = calibrate(shell, "--small", "s", "--large", "l", "--floor", "1")
    assert (code, lines["floor"]) == (0, "1 point below l")
    assert "of l's calls (no costs, so calls are counted)" in lines["saving"]
    assert calibrate(shell, "--small", "s", "--large", "s")[0] == 2


def test_what_some_rows_lack_is_said(shell: Shell) -> None:
    rows = draw_rows(800)
    rows = tuple(
        replace(row, evidence=RequestSignals(), costs_nano_usd={}, propensity=0.5) if number % 4 == 0 else row
        for number, row in enumerate(rows)
    )
    write_rows(shell, rows)
    code, lines, _ = calibrate(shell, "--floor", "3")
    assert code == 0
    assert "800, 600 with evidence.confidence; the others are never kept; " in lines["rows"]
    assert "so that each had the same chance to be labelled" in lines["rows"]
    assert "costs in 600 rows only, so calls are counted" in lines["saving"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "b", "scores": {"haiku": 1}}', "no score for opus (it has: haiku)"),
        ('{"id": "b", "scores": {"haiku": 1.2, "opus": 1}}', "score 1.2 of haiku is not between 0 and 1"),
        ('{"id": "b", "scores": {"haiku": "good", "opus": 1}}', "not an outcome: Expected `float`"),
        ('{"id": "a", "scores": {"haiku": 1, "opus": 1}}', "id `a` stands on line 1 already (give each request one"),
        ('{"id": "b", "scores": ', "not JSON"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(shell: Shell, line: str, said: str) -> None:
    (shell.folder / "outcomes.jsonl").write_text(f"{GOOD}\n\n{line}\n")
    done = shell.call("route", "calibrate", "--data", "outcomes.jsonl", "-o", "certificate.json")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"renga: outcomes.jsonl:3: {said}")
    assert done.err.count("\n") == 1
    assert not (shell.folder / "certificate.json").exists()


def test_a_wrong_row_in_a_process_of_its_own(shell: Shell) -> None:
    (shell.folder / "outcomes.jsonl").write_text(f'{GOOD}\n{{"id": "b", "scores": {{"opus": 1}}}}\n')
    done = shell.run("route", "calibrate", "--data", "outcomes.jsonl")
    assert (done.code, done.out) == (1, "")
    assert done.err == "renga: outcomes.jsonl:2: no score for haiku (it has: opus)\n"


def test_too_few_rows_keep_nothing(shell: Shell) -> None:
    write_rows(shell, draw_rows(113))
    (shell.folder / "certificate.json").write_text("old")
    done = shell.run("route", "calibrate", "--data", "outcomes.jsonl", "-o", "certificate.json")
    assert (done.code, done.err) == (1, "")
    assert read_lines(done.out) == {"rows": "113", "floor": "2 points below opus", "confidence": "90 %"}
    assert "Nothing may be kept: 113 labels cannot prove" in done.out
    assert "114 are needed. Everything is escalated." in done.out
    assert done.out.endswith("certificate.json was not written. The one that is there is older.\n")
    assert (shell.folder / "certificate.json").read_text() == "old"


@pytest.mark.parametrize(("count", "needed"), [(0, 22), (60, 100)])
def test_a_loose_floor_needs_rows_too(shell: Shell, count: int, needed: int) -> None:
    rows = tuple(replace(row, scores={"haiku": 1.0, "opus": 1.0}) for row in draw_rows(count))
    write_rows(shell, rows)
    code, _, text = calibrate(shell, "--floor", "10")
    assert code == 1
    assert f": {needed} are needed. Everything is escalated." in text


def test_a_floor_that_nothing_holds_keeps_nothing(shell: Shell) -> None:
    write_rows(shell, tuple(replace(row, scores={"haiku": 0.0, "opus": 1.0}) for row in draw_rows(300)))
    done = shell.call("route", "calibrate", "--data", "outcomes.jsonl", "--json", "-o", "certificate.json")
    assert done.code == 1
    refused = msgspec.json.decode(done.out)["refused"]
    assert (refused["reason"], refused["rows"], refused["rows_needed"]) == ("no_threshold_passes", 300, 114)
    assert not (shell.folder / "certificate.json").exists()


def test_what_cannot_be_ranked_or_saved_is_refused(shell: Shell) -> None:
    write_rows(shell, draw_rows(300))
    code, _, text = calibrate(shell, "--ranking", "agreement")
    assert (code, text) == (
        1,
        "renga: outcomes.jsonl: no row has evidence.agreement, by which to rank "
        "(the rows allow --ranking confidence, --ranking triage)\n",
    )
    write_rows(shell, tuple(replace(row, costs_nano_usd={"haiku": 0, "opus": 0}) for row in draw_rows(300)))
    code, _, text = calibrate(shell, "--floor", "5")
    assert code == 1
    assert "costs_nano_usd of opus are 0" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["calibrate"], 2, "give --data FILE or --from-shadow"),
        (["calibrate", "--data", "one.jsonl", "--from-shadow"], 2, "one of the two"),
        (["report", "--days", "0"], 2, "a number of days"),
        (["calibrate", "--data", "none.jsonl"], 1, "none.jsonl: cannot be read: No such file"),
        (["calibrate", "--data", "one.jsonl", "--floor", "0"], 1, "a floor of 0 points is not between 0 and 100"),
        (["calibrate", "--data", "one.jsonl", "--floor", "nan"], 1, "a floor of nan points"),
        (["calibrate", "--data", "one.jsonl", "--confidence", "1"], 1, "a confidence of 1 is not between 0.5 and 1"),
        (["calibrate", "--data", "one.jsonl", "--ranking", "luck"], 2, "'luck'"),
        (["calibrate", "--data", "one.jsonl", "-o", "./one.jsonl"], 2, "it would overwrite the outcomes"),
        (["check", "none.json"], 1, "none.json: cannot be read: No such file"),
        (["check", "one.jsonl"], 1, "one.jsonl: not a certificate: "),
        (["check", "bytes.json"], 1, "bytes.json: not a certificate: "),
        (["explain"], 2, "nothing to explain"),
        (["explain", "  "], 2, "nothing to explain"),
        (["explain", "-"], 2, "nothing to explain"),
        (["explain", "x", "--request", "one.jsonl"], 2, "give one"),
        (["explain", "--request", "none.json"], 1, "none.json: cannot be read: No such file"),
        (["explain", "--request", "one.jsonl"], 1, "one.jsonl: "),
        (["explain", "--request", "bytes.json"], 1, "bytes.json: "),
    ],
)
def test_an_error_is_one_line(shell: Shell, arguments: list[str], code: int, message: str) -> None:
    (shell.folder / "one.jsonl").write_text(GOOD + "\n")
    (shell.folder / "bytes.json").write_bytes(b'{"format": 1, "small": "\xff\xfe"}')
    done = shell.call("route", *arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("renga: ")
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("pattern", "changed", "said"),
    [
        (rb'"floor_points": 2.0', b'"floor_points": 1.0', "it was changed after it was written"),
        (rb'"threshold": [\d.]+', b'"threshold": 0.0', "it was changed after it was written"),
        (rb'"seal": "\w+"', b'"seal": ""', "it was changed after it was written"),
        (rb'"format": 1', b'"format": 2', "format 2 is not 1"),
        (rb'"rows": 600,', b"", "not a certificate: Object missing required field `rows`"),
        (rb"\}\s*$", b"", "not a certificate: Input data was truncated"),
    ],
)
def test_a_certificate_that_was_edited_is_refused(shell: Shell, pattern: bytes, changed: bytes, said: str) -> None:
    write_rows(shell, draw_rows(600))
    assert calibrate(shell, "-o", "certificate.json")[0] == 0
    file = shell.folder / "certificate.json"
    edited, count = re.subn(pattern, changed, file.read_bytes())
    assert count == 1
    file.write_bytes(edited)
    done = shell.call("route", "check", "certificate.json")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"renga: certificate.json: {said}")


def test_a_group_says_whose_proof_it_has(shell: Shell) -> None:
    write_rows(shell, draw_rows(600))
    assert calibrate(shell, "-o", "certificate.json")[0] == 0
    file = shell.folder / "certificate.json"
    certificate = decode_certificate(file.read_bytes())
    for rows, said in ((0, "team"), (40, "team; the proof is everyone's, the threshold its own, from 40 rows")):
        file.write_bytes(encode_certificate(replace(certificate, group="team", group_rows=rows)))
        assert read_lines(shell.call("route", "check", "certificate.json").out)["group"] == said


def test_a_group_is_proven_by_its_own_rows_or_by_everyones(shell: Shell) -> None:
    rows = draw_rows(1_000)
    grouped = tuple(replace(row, group="small" if number % 20 == 0 else "big") for number, row in enumerate(rows))
    write_rows(shell, grouped)
    code, lines, _ = calibrate(shell, "--group", "big", "-o", "big.json")
    assert (code, lines["rows"]) == (0, "950, all with evidence.confidence")
    assert decode_certificate((shell.folder / "big.json").read_bytes()).group_rows == 0
    code, _, text = calibrate(shell, "--group", "small", "-o", "small.json")
    assert code == 0, text
    assert "threshold its own, from 50 rows" in text
    small = decode_certificate((shell.folder / "small.json").read_bytes())
    assert (small.group, small.rows, small.group_rows) == ("small", 1_000, 50)
    code, _, text = calibrate(shell, "--group", "none")
    assert (code, text) == (1, "renga: outcomes.jsonl: no row is of group 'none' (there are 'big', 'small')\n")


def test_a_head_is_fitted_compared_and_loaded(shell: Shell) -> None:
    topics = ("tax law appeal", "weather today", "prime ideal ring", "pizza order")
    rows = tuple(
        OutcomeRow(str(at), {"haiku": float(at % 2), "opus": 1.0}, prompt=f"{topics[at % 4]} {at}") for at in range(200)
    )
    write_rows(shell, (*rows, OutcomeRow("bare", {"haiku": 1.0, "opus": 1.0})))
    done = shell.call("route", "head", "--data", "outcomes.jsonl", "-o", "own.head")
    assert done.code == 0, done.err
    lines = read_lines(done.out)
    assert lines["rows"] == "200 with a prompt"
    assert float(re.findall(r"[\d.]+", lines["this head"])[0]) > 90
    shell.write_config('[policies.auto]\nhead = "own.head"\n')
    hard, easy = (
        msgspec.json.decode(shell.call("route", "explain", f"{topics[at]} 7", "--json").out)["score"] for at in (0, 1)
    )
    assert hard > easy
    write_rows(shell, tuple(replace(row, prompt=None) for row in rows))
    refused = shell.call("route", "head", "--data", "outcomes.jsonl", "-o", "own.head")
    assert (refused.code, refused.err) == (
        1,
        "renga: outcomes.jsonl: no row has a prompt, by which to score (shadow traffic keeps none: add them)\n",
    )


def test_curves_are_fitted_written_and_loaded(shell: Shell) -> None:
    rows = (
        {"id": str(at), "scores": {"haiku": float(at % 3 > 0)}, "evidence": {"mean_logprob": -0.1 if at % 3 else -2.0}}
        for at in range(300)
    )
    (shell.folder / "outcomes.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    command = ("route", "curves", "--data", "outcomes.jsonl", "--target", "local/hokku", "-o", "curves.json")
    done = shell.call(*command)
    assert done.code == 0, done.err
    assert "logprob    300 labels, calibration error 0.00" in done.out
    shell.write_config('[policies.auto]\ncurves = "curves.json"\n')
    assert shell.call("route", "explain", "Why?").code == 0
    (shell.folder / "curves.json").write_text("{}")
    refused = shell.call("route", "explain", "Why?")
    assert (refused.code, refused.err.startswith("renga: curves.json: no curves")) == (1, True)
