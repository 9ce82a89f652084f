"""`renga route report`, `outcomes` and `calibrate --from-shadow` read what a server has written."""

from __future__ import annotations

import random

import msgspec
import pytest
from msgspec.structs import replace
from tests.cli.conftest import Shell

from renga.cli.shell.database_access import now_us
from renga.domain.ledger import AttemptRow, LedgerRow
from renga.domain.outcomes import Feedback
from renga.routing.certificates.certificate import (
    Certificate,
    CertificateQuestion,
    calibrate,
    encode_certificate,
    load_certificate,
)
from renga.routing.monitoring.comparison import DIGEST_CHARACTERS
from renga.routing.outcomes.outcome_file import OutcomeRow, Outcomes, ParsedOutcomes, RequestSignals, decode_outcomes
from renga.store.database import Database, open_database
from renga.testing.suites.outcome_suite import make_outcome
from renga.testing.suites.store_suite import make_row

SETTINGS = """
[engine]
enabled = false
[store]
data_dir = "."
[providers.vllm]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9"
[tiers]
haiku = ["vllm/small"]
opus = ["vllm/large"]
[prices."vllm/small"]
input_usd = 1.0
output_usd = 1.0
[prices."vllm/large"]
input_usd = 20.0
output_usd = 20.0
[policies.auto]
shadow_share = 0.5
"""
REQUESTS = 300


def write_traffic(database: Database) -> None:
    """Haiku is kept where a second answer agrees, and then right 19 times in 20."""
    draw = random.Random(5).random
    rows: list[LedgerRow] = []
    outcomes = []
    base = replace(make_row(""), policy="auto", key_id="key_a", time_us=now_us() - 1_000_000, first_event_us=200_000)
    for number in range(REQUESTS):
        agreed = draw() < 0.7
        small = AttemptRow("vllm/small", None, 5, "answer", cost_nano_usd=10_000)
        second = AttemptRow("vllm/small", None, 5, "second", cost_nano_usd=10_000)
        large = AttemptRow("vllm/large", None, 5, "answer", cost_nano_usd=300_000)
        row = replace(base, request_id=f"req_{number}", input_tokens=6, output_tokens=4, cache_read_tokens=0)
        row = replace(row, cache_creation_5m_tokens=0, cache_creation_1h_tokens=0)
        if agreed:
            row = replace(
                row, tier="haiku", target="vllm/small", kept=True, attempts=(small, second), cost_nano_usd=20_000,
                check_cost_nano_usd=10_000, why="policy:auto;triage:verify;check:agreement:number=1.00;kept",
            )  # fmt: skip
        else:
            row = replace(
                row, tier="opus", target="vllm/large", kept=False, attempts=(small, second, large),
                cost_nano_usd=320_000, check_cost_nano_usd=20_000, escalated_because="agreement:number=0.00",
                why="policy:auto;triage:verify;check:agreement:number=0.00;escalated:agreement:number=0.00",
            )  # fmt: skip
        rows.append(row)
        if number % 2 == 0:
            right = float(draw() < (0.95 if agreed else 0.3))
            outcomes.append(
                replace(
                    make_outcome(row.request_id, "kept" if agreed else "escalated"),
                    scores={"haiku": right, "opus": 1.0},
                    costs_nano_usd={"opus": 300_000} if agreed else {},
                    second_nano_usd=300_000 if agreed else 0,
                    evidence={"agreement": float(agreed), "confidence": float(agreed), "triage": 0.5},
                    certificate=None,
                    propensity=0.5,
                    time_us=row.time_us,
                )
            )
    outcomes.append(replace(make_outcome("req_1", "unjudged"), scores={}, certificate=None, time_us=base.time_us))
    database.ledger.write_rows(rows)
    database.outcomes.write(outcomes)
    assert database.outcomes.judge(Feedback("key_a", 0.5, None, request_id="req_0"), base.time_us) is not None


@pytest.fixture
def traffic(shell: Shell) -> Shell:
    (shell.folder / "renga.toml").write_text(SETTINGS)
    with open_database(f"sqlite:///{shell.folder / 'renga.db'}") as database:
        write_traffic(database)
    return shell


def test_the_report_reads_the_database(traffic: Shell) -> None:
    done = traffic.call("route", "report", "--config", "renga.toml")
    assert (done.code, done.err) == (0, "")
    lines = dict(line.split("  ", 1) for line in done.out.splitlines() if "  " in line)
    lines = {name.strip(): text.strip() for name, text in lines.items()}
    assert done.out.startswith(f"auto: {REQUESTS} requests in 7 days\n")
    assert lines["state"] == "uncertified: no floor is promised"
    assert lines["kept"].startswith("7") and "% at haiku" in lines["kept"]
    assert lines["escalated"].endswith("first token 200 ms (p50), 200 ms (p99)")
    assert "for agreement:number=0.00" in done.out
    assert "% of what vllm/large alone would have cost" in lines["saving"]
    assert "corrected by 1.50 from" in lines["saving"]
    assert "points below opus on 150 labels" in lines["quality"] and "(1 unjudged)" in lines["quality"]
    assert lines["feedback"].startswith("0.50 of 1 for")
    assert lines["shadow"].startswith("50 % drawn; $")


def test_shadow_traffic_is_a_file_that_calibration_reads(traffic: Shell) -> None:
    done = traffic.call("route", "outcomes", "--config", "renga.toml")
    assert done.code == 0
    assert done.err.startswith("1 drawn requests are left out")
    rows = decode_outcomes(done.out.encode(), "out", ParsedOutcomes(("haiku", "opus"))).rows
    assert len(rows) == REQUESTS // 2
    kept = next(row for row in rows if row.evidence.agreement == 1.0)
    assert (kept.costs_nano_usd, kept.check_nano_usd) == ({"haiku": 10_000, "opus": 300_000}, 10_000)
    handed_on = next(row for row in rows if row.evidence.agreement == 0.0)
    assert (handed_on.costs_nano_usd, handed_on.check_nano_usd) == ({"haiku": 10_000, "opus": 300_000}, 10_000)
    (traffic.folder / "outcomes.jsonl").write_text(done.out)
    options = ("--floor", "10", "--ranking", "agreement", "--config", "renga.toml")
    by_file = traffic.call("route", "calibrate", "--data", "outcomes.jsonl", *options)
    direct = traffic.call("route", "calibrate", "--from-shadow", *options)
    assert by_file.code == direct.code == 0
    assert direct.out == by_file.out
    assert "150, all with evidence.agreement" in direct.out
    other = traffic.call("route", "calibrate", "--from-shadow", "--policy", "other", *options)
    assert other.code == 1 and "0 labels cannot prove" in other.out


def test_nothing_drawn_says_how_to_begin(shell: Shell) -> None:
    (shell.folder / "renga.toml").write_text(SETTINGS)
    done = shell.call("route", "outcomes", "--config", "renga.toml")
    assert (done.code, done.out) == (0, "")
    assert "Nothing yet of auto. `shadow_share` of [policies.auto]" in done.err


def test_the_doctor_says_what_policies_may_keep(shell: Shell) -> None:
    (shell.folder / "renga.toml").write_text(SETTINGS + "[policies.careful]\nfloor_points = 1\n")
    options = ("--no-model", "--json", "--config", "renga.toml")
    found = {each["subject"]: each for each in msgspec.json.decode(shell.call("doctor", *options).out)}
    assert (found["policy auto"]["level"], found["policy auto"]["detail"]) == ("ok", "uncertified")
    careful = found["policy careful"]
    assert careful["detail"] == "1 points are promised and not proven: everything goes up"
    assert careful["remedy"].startswith("renga route calibrate --floor 1,")
    certify(shell, "careful.json", 1.0)
    (shell.folder / "renga.toml").write_text(
        SETTINGS + '[policies.careful]\nfloor_points = 1\ncertificate = "careful.json"\n'
    )
    digest = load_certificate(shell.folder / "careful.json").digest[:DIGEST_CHARACTERS]
    with open_database(f"sqlite:///{shell.folder / 'renga.db'}") as database:
        database.outcomes.write_broken(f"shadow:careful:{digest}", 1)
    found = {each["subject"]: each for each in msgspec.json.decode(shell.call("doctor", *options).out)}
    assert found["policy careful"]["detail"] == "its floor was found broken, so everything goes up"
    (shell.folder / "careful.json").write_text("{}")
    found = {each["subject"]: each for each in msgspec.json.decode(shell.call("doctor", *options).out)}
    assert found["policies"]["level"] == "fail" and "careful.json" in str(found["policies"])


def certify(shell: Shell, name: str, points: float) -> None:
    """A certificate on 500 faultless labels."""
    rows = tuple(
        OutcomeRow(f"r{number}", {"haiku": 1.0, "opus": 1.0}, evidence=RequestSignals(agreement=1.0))
        for number in range(500)
    )
    found = calibrate(Outcomes(rows, "ab" * 32), CertificateQuestion("haiku", "opus", points, ranking="agreement"))
    assert isinstance(found, Certificate)
    (shell.folder / name).write_bytes(encode_certificate(found))
