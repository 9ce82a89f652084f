"""Reports to the shared count keep their order and their numbers."""

from __future__ import annotations

from renga.accounting.limits.shared.outbox import Outbox


def test_reports_keep_their_order_and_their_numbers() -> None:
    reports = Outbox(1000)
    for number in range(450):
        reports.add(b"%d" % number, 2)
    made = [reports.make() for _ in range(3)]
    assert [(report.number, len(report.entries), report.arguments) for report in made] == [
        (1, 200, 400), (2, 200, 400), (3, 50, 100),
    ]  # fmt: skip
    reports.acknowledge(made[1])
    assert reports.unacknowledged == (made[2],)
    assert reports.waiting == 50
