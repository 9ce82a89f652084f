"""Live requests go first, and background ones have what they leave."""

from __future__ import annotations

from renga.models.engine.ipc import BACKGROUND, LIVE, GenerationRequest
from renga.models.engine.scheduling.admission import QUIET_NS, WATCH_NS, Admission
from renga.testing.fake_clock import ToldClock


def generation(priority: int) -> GenerationRequest:
    return GenerationRequest([1, 2, 3], 5, priority=priority)


def admission(max_running: int = 4, max_background: int = 1) -> tuple[Admission, ToldClock]:
    clock = ToldClock(10 * QUIET_NS)
    return Admission(max_running, max_background, clock.monotonic_ns), clock


def queue(line: Admission, ids: range, priority: int) -> None:
    for request_id in ids:
        line.enqueue(request_id, generation(priority))


def take_all(line: Admission) -> list[int]:
    """What starts in as many steps as it takes; each has its first token at the end of its step."""
    started: list[int] = []
    while some := line.take():
        started += [waiter.request_id for waiter in some]
        for waiter in some:
            line.end_chunks(waiter.request_id)
            line.note_first_token(waiter.request_id)
    return started


def test_background_requests_start_one_a_step_and_leave_a_slot_for_the_next_live_one() -> None:
    line, _ = admission()
    queue(line, range(10), BACKGROUND)
    assert [len(line.take()) for _ in range(4)] == [1, 1, 1, 0]
    line.enqueue(100, generation(LIVE))
    assert [waiter.request_id for waiter in line.take()] == [100]
    assert line.waiting == 7


def test_live_requests_go_first_and_start_together() -> None:
    line, _ = admission()
    queue(line, range(3), BACKGROUND)
    queue(line, range(100, 103), LIVE)
    assert [waiter.request_id for waiter in line.take()] == [100, 101, 102], "nobody's prompt is read beside theirs"
    assert line.take() == []
    for request_id in range(100, 103):
        line.note_first_token(request_id)
    assert take_all(line) == [0]


def test_what_runs_in_the_background_makes_room_for_a_live_request() -> None:
    line, _ = admission()
    queue(line, range(5), BACKGROUND)
    assert take_all(line) == [0, 1, 2]
    assert line.find_surplus() == []
    line.enqueue(100, generation(LIVE))
    assert line.find_surplus() == [2, 1]  # those that started last have the least to lose
    for request_id in line.find_surplus():
        line.enqueue(request_id, generation(BACKGROUND))
    assert line.find_surplus() == []
    assert take_all(line) == [100]
    assert line.waiting == 4


def test_a_prompt_that_nobody_waits_for_stands_back_while_a_live_one_is_read() -> None:
    line, _ = admission(max_background=2)
    queue(line, range(2), BACKGROUND)
    first, second = [line.take()[0].request_id for _ in range(2)]
    line.note_first_token(first)
    line.enqueue(100, generation(LIVE))
    assert line.find_surplus() == [second]
    line.enqueue(second, generation(BACKGROUND))
    assert [waiter.request_id for waiter in line.take()] == [100]
    assert line.find_surplus() == []
    line.note_first_token(100)
    assert take_all(line) == [second]


def test_the_background_waits_a_moment_after_the_last_live_request() -> None:
    line, clock = admission()
    line.enqueue(100, generation(LIVE))
    queue(line, range(5), BACKGROUND)
    assert take_all(line) == [100, 0]
    line.end_request(100)
    assert take_all(line) == []
    clock.ns += QUIET_NS
    assert take_all(line) == [1, 2]


def test_a_share_of_nothing_pauses_the_background() -> None:
    line, clock = admission(max_background=0)
    queue(line, range(2), BACKGROUND)
    line.enqueue(100, generation(LIVE))
    assert take_all(line) == [100]
    line.end_request(100)
    clock.ns += QUIET_NS
    assert take_all(line) == [0, 1]


def test_one_that_left_is_forgotten() -> None:
    line, _ = admission()
    queue(line, range(2), BACKGROUND)
    assert line.end_request(1)
    assert not line.end_request(1)
    assert take_all(line) == [0]
    assert not line.end_request(0)
    assert line.waiting == 0


def test_a_single_slot_is_given_up() -> None:
    line, _ = admission(max_running=1, max_background=1)
    line.enqueue(0, generation(BACKGROUND))
    assert take_all(line) == [0]
    line.enqueue(100, generation(LIVE))
    assert line.find_surplus() == [0]
    line.enqueue(0, generation(BACKGROUND))
    assert take_all(line) == [100]


def test_while_live_requests_are_about_prompts_are_read_in_pieces_one_at_a_time() -> None:
    line, clock = admission()
    line.enqueue(100, generation(LIVE))
    assert take_all(line) == [100]
    line.end_request(100)
    clock.ns += QUIET_NS
    queue(line, range(3), BACKGROUND)
    assert [waiter.in_chunks for waiter in line.take()] == [True]
    assert line.take() == []
    line.end_chunks(0)
    line.note_first_token(0)
    clock.ns += WATCH_NS
    assert [waiter.in_chunks for waiter in line.take()] == [False]


def test_a_prompt_that_is_read_in_pieces_waits_in_its_place() -> None:
    line, _ = admission()
    line.enqueue(100, generation(LIVE))
    line.end_request(100)
    queue(line, range(2), BACKGROUND)
    assert [waiter.request_id for waiter in line.take()] == [0]
    assert line.may_prefill_chunk()
    line.enqueue(101, generation(LIVE))
    assert not line.may_prefill_chunk()
    assert line.find_surplus() == []
    assert take_all(line) == [101]
    assert line.may_prefill_chunk()


def test_how_far_a_prompt_was_read_is_kept_in_the_line() -> None:
    line, _ = admission()
    line.enqueue(0, generation(BACKGROUND), 2)
    assert [waiter.read_tokens for waiter in line.take()] == [2]


def test_where_the_background_must_wait_it_is_known_for_how_long() -> None:
    line, clock = admission(max_background=0)
    assert line.yield_interval_ns() == 0
    line.enqueue(100, generation(LIVE))
    queue(line, range(1), BACKGROUND)
    assert take_all(line) == [100]
    line.end_request(100)
    clock.ns += QUIET_NS // 4
    assert line.yield_interval_ns() == QUIET_NS * 3 // 4
    clock.ns += QUIET_NS
    assert line.yield_interval_ns() == 0
    assert take_all(line) == [0]
