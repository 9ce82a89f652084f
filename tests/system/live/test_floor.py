"""A certified policy that loses more than it promised keeps nothing more; the report says so, and a restart too."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from renga.routing.certificates.certificate import Certificate, CertificateQuestion, calibrate, encode_certificate
from renga.routing.outcomes.outcome_file import OutcomeRow, Outcomes, RequestSignals

POLICY = """
[policies.auto]
checks = ["structural", "agreement"]
floor_points = 5.0
certificate = "{file}"
shadow_share = 1.0
"""


def certify(file: Path) -> Certificate:
    """A certificate on labels of better days: whatever agreed was right."""
    draw = random.Random(3).random
    rows = tuple(
        OutcomeRow(
            f"r{number}",
            {"haiku": float(agreement == 1.0), "opus": 1.0},
            evidence=RequestSignals(agreement=agreement),
            costs_nano_usd={"haiku": 100, "opus": 2_000},
            check_nano_usd=100,
        )
        for number, agreement in ((number, float(draw() < 0.7)) for number in range(400))
    )
    found = calibrate(Outcomes(rows, "ab" * 32), CertificateQuestion("haiku", "opus", 5.0, ranking="agreement"))
    assert isinstance(found, Certificate)
    file.write_bytes(encode_certificate(found))
    return found


def say(model: str, prompt: str) -> str:
    return "The answer is 42." if model == "large" or "easy" in prompt else "The answer is 41."


async def report(server) -> dict:
    answer = await server.send("GET", "/v1/routing/report", secret="sk-renga-reads")
    assert answer.status == 200, answer.body
    return answer.json()


@pytest.fixture
def reader_key(tmp_path: Path) -> None:
    """A key that may read what concerns the whole installation."""
    from renga.accounting.keys.key_ring import digest_secret
    from renga.domain.keys import KeyRow, KeyTerms
    from renga.store.database import open_database

    row = KeyRow("key_r", "reader", digest_secret("sk-renga-reads"), "eads", 1, terms=KeyTerms(scopes=("usage",)))
    with open_database(f"sqlite:///{tmp_path / 'renga.db'}") as database:
        database.keys.create(row)


async def test_a_broken_floor_sends_everything_up_until_there_is_a_new_certificate(
    live, tmp_path: Path, reader_key: None
) -> None:
    certificate = certify(tmp_path / "floor.json")
    config = POLICY.format(file=tmp_path / "floor.json")
    async with live(say, config) as server:
        (policy,) = server.app.parts.answering.router.policies
        first = await server.ask("an easy one")
        assert first.headers["renga-target"] == "up/small" and first.headers["renga-plan"].endswith(";kept")
        asked = 0
        while not policy.suspended:
            await server.ask(f"a hard one, number {asked}")
            asked += 1
            assert asked < 200
        after = await server.ask("an easy one")
        assert after.headers["renga-target"] == "up/large"
        assert "floor:5;up:floor_broken" in after.headers["renga-plan"]
        (shown,) = (await report(server))["policies"]
        assert shown["policy"]["state"] == "suspended:floor_broken"
        assert shown["policy"]["certificate"]["seal"] == certificate.digest[:16] == shown["quality"]["seal"]
        assert shown["quality"]["broken_us"] is not None and shown["quality"]["loss_points"] > 5.0
        metrics = (await server.send("GET", "/metrics")).body.decode()
        assert 'renga_floor_broken{policy="auto"} 1.0' in metrics
    async with live(say, config) as again:
        (policy,) = again.app.parts.answering.router.policies
        await again.until(lambda: policy.suspended is not None)
        assert (await again.ask("an easy one")).headers["renga-target"] == "up/large"


async def test_the_report_counts_what_was_kept_saved_and_lost(live, tmp_path: Path, reader_key: None) -> None:
    certify(tmp_path / "floor.json")
    count = 0

    def doubtful(model: str, prompt: str) -> str:
        nonlocal count
        count += 1
        return f"The answer is {count}." if "doubtful" in prompt and model == "small" else "The answer is 42."

    async with live(doubtful, POLICY.format(file=tmp_path / "floor.json")) as server:
        for _ in range(3):
            await server.ask("an easy one")
        doubt = await server.ask("a doubtful one")
        await server.send("POST", "/v1/feedback", {"request_id": doubt.headers["request-id"], "score": 0.75})
        await server.app._live.second.settle()
        report_service = server.app.parts.routing
        await server.until(
            lambda: (report_service._readings() or [None])[0] is not None and report_service._readings()[0].labels == 4
        )
        seen = await report(server)
        (shown,) = seen["policies"]
        assert (shown["requests"], shown["kept"], shown["kept_share"], shown["failed"]) == (4, 3, 0.75, 0)
        assert shown["escalations"] == {"agreement:number=0.00": 1}
        assert shown["feedback"] == {"opus": {"count": 1, "mean_score": 0.75}}
        assert (shown["quality"]["labels"], shown["quality"]["loss_points"]) == (4, 0.0)
        assert shown["latency"]["verified"]["requests"] == 3 and shown["latency"]["escalated"]["requests"] == 1
        saving = shown["saving"]
        assert saving["low"] < saving["share"] < saving["high"] < 1.0
        with server.open_database() as database:
            rows = [row for row in database.ledger.read_rows() if row.surface == "messages"]
        assert saving["spent_nano_usd"] == sum(row.cost_nano_usd or 0 for row in rows)
        # Five times the price a token; the same tokens in and out.
        kept = [row for row in rows if row.kept]
        (up,) = (row for row in rows if not row.kept)
        expected = sum(5 * ((row.cost_nano_usd or 0) - (row.check_cost_nano_usd or 0)) for row in kept)
        assert saving["top_nano_usd"] == expected + (up.cost_nano_usd or 0) - (up.check_cost_nano_usd or 0)
        assert [state["target"] for state in seen["targets"]] == ["up/large", "up/small"]
        assert all(state["standing"] == "working" for state in seen["targets"])


async def test_a_wrong_question_is_refused(live, reader_key: None) -> None:
    async with live(say) as server:
        for query, path in (("days=0", "days"), ("days=x", "days"), ("weeks=1", "weeks")):
            answer = await server.send("GET", f"/v1/routing/report?{query}", secret="sk-renga-reads")
            assert answer.status == 400 and answer.json()["error"]["message"].startswith(path)
        assert (await server.send("GET", "/v1/routing/report")).status == 403
        assert [each["policy"]["name"] for each in (await report(server))["policies"]] == ["auto"]
