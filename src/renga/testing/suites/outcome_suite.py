"""What `store/tables/outcomes.py` promises, as tests for every database: subclass `OutcomeSuite` and give it a `url`
fixture.

Must never know: which database it runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from renga.domain.ledger import AttemptRow
from renga.domain.outcomes import Feedback, OutcomeQuery, OutcomeRecord
from renga.store.database import Database, open_database
from renga.testing.suites.store_suite import make_row


def make_outcome(request_id: str, label: str = "kept") -> OutcomeRecord:
    """A drawn request of the policy `auto`, an hour after `make_row`'s day began; `replace` makes others of it."""
    return OutcomeRecord(
        request_id=request_id,
        time_us=make_row("").time_us,
        key_id="key_a",
        policy="auto",
        source="shadow",
        label=label,
        scores={"haiku": 0.5, "opus": 1.0},
        costs_nano_usd={"opus": 4_000},
        check_nano_usd=None,
        evidence={"agreement": 1.0, "triage": -0.25},
        propensity=0.1,
        certificate="ab12",
        small="haiku",
        top="opus",
    )


class OutcomeSuite:
    """Subclass it in a test module and give the subclass a `url` fixture: an empty database."""

    @pytest.fixture
    def database(self, url: str) -> Iterator[Database]:
        with open_database(url) as database:
            yield database

    def test_costs_come_from_the_ledger(self, database: Database) -> None:
        kept = replace(make_row("req_1"), cost_nano_usd=150, check_cost_nano_usd=50)
        attempts = (
            AttemptRow("local/a", None, 5, "answer", cost_nano_usd=100),
            AttemptRow("local/b", None, 5, "second", cost_nano_usd=70),
            AttemptRow("anthropic/c", None, 5, "answer", cost_nano_usd=4_000),
            AttemptRow("local/d", "skipped:cooling", 0),
        )
        up = replace(make_row("req_2"), attempts=attempts, cost_nano_usd=4_170, check_cost_nano_usd=170)
        unknown = replace(make_row("req_3"), cost_nano_usd=None, check_cost_nano_usd=None)
        database.ledger.write_rows([kept, up, unknown])
        escalated = replace(make_outcome("req_2", "escalated"), costs_nano_usd={})
        database.outcomes.write([make_outcome("req_1"), escalated, make_outcome("req_3"), make_outcome("req_4")])
        read = database.outcomes.read(OutcomeQuery())
        assert [row.request_id for row in read] == ["req_1", "req_2", "req_3", "req_4"]
        assert [(row.costs_nano_usd, row.check_nano_usd) for row in read] == [
            ({"haiku": 100, "opus": 4_000}, 50),
            ({"haiku": 100, "opus": 4_000}, 70),
            ({"opus": 4_000}, None),
            ({"opus": 4_000}, None),
        ]
        assert replace(make_outcome("req_1"), small=None, top=None, costs_nano_usd={}) == replace(
            read[0], costs_nano_usd={}, check_nano_usd=None
        )

    def test_a_request_is_drawn_once(self, database: Database) -> None:
        database.outcomes.write([make_outcome("req_1"), replace(make_outcome("req_1"), scores={})])
        database.outcomes.write([replace(make_outcome("req_1"), label="failed")])
        canary = replace(make_outcome("req_1"), source="canary", policy="vllm/new")
        database.outcomes.write([canary])
        (shadow,) = database.outcomes.read(OutcomeQuery())
        assert shadow.scores == {"haiku": 0.5, "opus": 1.0}
        assert [row.policy for row in database.outcomes.read(OutcomeQuery(("canary", "shadow")))] == [
            "auto",
            "vllm/new",
        ]

    def test_rows_are_read_from_a_place_on(self, database: Database) -> None:
        database.outcomes.write([make_outcome(f"req_{number}") for number in range(5)])
        first = database.outcomes.read_after(0, 3)
        assert [row.record.request_id for row in first] == ["req_0", "req_1", "req_2"]
        rest = database.outcomes.read_after(first[-1].row_number, 10)
        assert [row.record.request_id for row in rest] == ["req_3", "req_4"]
        assert database.outcomes.read_after(rest[-1].row_number, 10) == []
        assert database.outcomes.find_start(10) == 0
        start = database.outcomes.find_start(2)
        assert [row.record.request_id for row in database.outcomes.read_after(start, 10)] == ["req_3", "req_4"]

    def test_a_query_takes_the_newest_of_a_policy(self, database: Database) -> None:
        rows = [make_outcome(f"req_{number}") for number in range(5)]
        database.outcomes.write([*rows, replace(make_outcome("req_9"), policy="other")])
        read = database.outcomes.read(OutcomeQuery(policy="auto", newest=2))
        assert [row.request_id for row in read] == ["req_3", "req_4"]
        assert database.outcomes.read(OutcomeQuery(since_us=make_row("").time_us + 1)) == []

    def test_only_the_key_that_asked_may_judge(self, database: Database) -> None:
        row = replace(make_row("req_1"), message_id="msg_1", policy="auto")
        other = replace(make_row("req_2"), message_id="msg_1", key_id="key_b", tier=None)
        database.ledger.write_rows([row, other])
        table = database.outcomes
        judged = table.judge(Feedback("key_a", 0.0, None, message_id="msg_1"), 7)
        assert judged is not None and (judged.request_id, judged.policy, judged.judged) == ("req_1", "auto", "haiku")
        judged = table.judge(Feedback("key_b", 1.0, None, request_id="req_2"), 8)
        assert judged is not None and (judged.policy, judged.judged) == (None, "local/hokku")
        assert table.judge(Feedback("key_b", 1.0, None, request_id="req_1"), 8) is None
        assert table.judge(Feedback("key_c", 1.0, None, message_id="msg_1"), 8) is None
        assert table.judge(Feedback("key_a", 1.0, None, request_id="req_3"), 8) is None
        assert table.read_after(0, 10) == [], "nobody drew it"

    def test_feedback_said_again_is_one_row(self, database: Database) -> None:
        database.ledger.write_rows([make_row("req_1")])
        said = Feedback("key_a", 0.25, "wrong total", request_id="req_1")
        for at_us, feedback in ((1, said), (2, said), (3, replace(said, score=1.0, label=None))):
            assert database.outcomes.judge(feedback, at_us) is not None
        (row,) = database.outcomes.read(OutcomeQuery(("feedback",)))
        assert (row.scores, row.label, row.time_us, row.propensity) == ({"haiku": 1.0}, None, 3, None)

    def test_a_broken_floor_is_remembered(self, database: Database) -> None:
        database.outcomes.write_broken("auto:ab12", 5)
        database.outcomes.write_broken("auto:ab12", 9)
        assert database.outcomes.read_broken() == {"auto:ab12": 5}

    def test_a_report_reads_what_policies_decided_newest_first(self, database: Database) -> None:
        plain = make_row("req_0")
        routed = [
            replace(
                plain, request_id=f"req_{number}", policy="auto", kept=number % 2 == 0, time_us=plain.time_us + number
            )
            for number in range(1, 5)
        ]
        database.ledger.write_rows([plain, *routed])
        read = database.outcomes.read_routed(0, 3)
        assert [(row.request_id, row.kept) for row in read] == [("req_4", True), ("req_3", False), ("req_2", True)]
        assert database.outcomes.read_routed(plain.time_us + 4, 9) == read[:1]
