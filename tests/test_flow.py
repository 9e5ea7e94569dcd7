"""Hand-off between threads: newest wins, errors cross, nothing hangs."""

from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puppet.flow import AgeStats, Closed, LatestSlot, RateMeter, Worker


def test_newest_wins_and_drops_are_counted() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert [slot.put(i) for i in range(5)] == [False, True, True, True, True]
    assert slot.get(0.0) == 4
    assert (slot.count, slot.dropped) == (5, 4)
    assert slot.put(5) is False
    assert slot.get() == 5


def test_get_times_out_and_does_not_deliver_twice() -> None:
    slot: LatestSlot[str] = LatestSlot()
    slot.put("a")
    assert slot.get(0) == "a"
    with pytest.raises(TimeoutError):
        slot.get(0.01)


def test_none_is_an_item_like_any_other() -> None:
    slot: LatestSlot[int | None] = LatestSlot()
    slot.put(None)
    assert slot.get(0) is None


def test_a_closed_slot_delivers_what_it_holds_then_ends() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    slot.close()
    assert slot.get(0) == 1
    with pytest.raises(Closed):
        slot.get()  # without a limit: it must not wait
    with pytest.raises(Closed):
        slot.put(2)


def test_the_first_error_reaches_the_reader_of_a_closed_slot() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.close(OSError("camera gone"))
    slot.close(ValueError("later"))
    slot.close()
    with pytest.raises(OSError, match="camera gone"):
        slot.get()


def test_close_wakes_a_waiting_reader() -> None:
    slot: LatestSlot[int] = LatestSlot()
    caught: list[BaseException] = []

    def read(stop: threading.Event) -> None:
        try:
            slot.get()
        except Closed as end:
            caught.append(end)

    worker = Worker("reader", read).start()
    slot.close()
    assert worker.join(5.0)
    assert len(caught) == 1


def test_a_producer_on_demand_waits_until_a_reader_waits_in_vain() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert not slot.await_reader(0.01), "nobody reads"
    got: list[int] = []
    worker = Worker("reader", lambda stop: got.append(slot.get())).start()
    assert slot.await_reader(5.0)
    slot.put(1)
    # Until the reader has come round again the item is on its way: a second one is not due.
    assert not slot.await_reader(0.01)
    assert worker.join(5.0)
    assert got == [1]
    slot.close()
    assert slot.await_reader(0), "the end is found out at once"


def test_every_item_is_read_or_counted_as_dropped_across_threads() -> None:
    slot: LatestSlot[int] = LatestSlot()
    got: list[int] = []

    def read(stop: threading.Event) -> None:
        while True:
            got.append(slot.get())

    worker = Worker("reader", read).start()
    for i in range(3000):
        slot.put(i)
    slot.close()
    assert worker.join(10.0)
    assert worker.error is None  # Closed is a regular end
    assert got == sorted(set(got))
    assert got[-1] == 2999
    assert len(got) + slot.dropped == 3000


def test_a_dying_worker_hands_its_error_to_the_reader_of_its_slot() -> None:
    slot: LatestSlot[int] = LatestSlot()

    def body(stop: threading.Event) -> None:
        slot.put(7)
        raise ZeroDivisionError("boom")

    worker = Worker("producer", body, on_end=slot.close).start()
    assert slot.get(5.0) == 7
    with pytest.raises(ZeroDivisionError, match="boom"):
        slot.get(5.0)
    worker.join()
    with pytest.raises(ZeroDivisionError):
        worker.raise_if_failed()


def test_join_of_a_stuck_worker_returns() -> None:
    release = threading.Event()
    worker = Worker("stuck", lambda stop: release.wait() and None).start()
    assert worker.join(0.05) is False
    assert worker.alive
    release.set()
    assert worker.join(5.0) is True


def test_join_from_the_own_thread_and_before_start_do_not_hang() -> None:
    results: list[bool] = []
    worker = Worker("self", lambda stop: results.append(worker.join(60.0)))
    assert worker.join() is True
    worker = Worker("self", lambda stop: results.append(worker.join(60.0)))
    worker.start()
    worker._thread.join(5.0)
    assert results == [True]


def test_stop_reaches_the_body() -> None:
    worker = Worker("polite", lambda stop: stop.wait() and None).start()
    worker.stop()
    assert worker.join(5.0)


@given(st.lists(st.floats(0, 1e5, width=32), min_size=1, max_size=200), st.integers(1, 64))
def test_percentiles_are_those_of_the_newest_values(values: list[float], capacity: int) -> None:
    stats = AgeStats(capacity)
    for value in values:
        stats.add_ms(value)
    got = stats.percentiles()
    expected = np.percentile(np.float32(values[-capacity:]), (50, 95, 99))
    assert (got.p50, got.p95, got.p99) == pytest.approx(tuple(expected))
    assert got.max == max(values)
    assert got.count == stats.count == len(values)
    assert stats.percentiles(last=1).p50 == values[-1]


def test_ages_come_from_two_readings_of_one_clock() -> None:
    stats = AgeStats()
    stats.add_between(1_000_000_000, 1_020_000_000)
    assert stats.percentiles().p50 == pytest.approx(20.0)


def test_empty_stats_are_valid_json() -> None:
    empty = AgeStats().percentiles()
    assert empty.count == 0
    assert math.isnan(empty.p50)
    assert json.dumps(empty.as_dict(), allow_nan=False) == (
        '{"p50": null, "p95": null, "p99": null, "max": null}'
    )


def test_rate_counts_intervals_not_stamps() -> None:
    now = 0

    def clock() -> int:
        return now

    meter = RateMeter(window=30, clock=clock)
    assert meter.per_second is None
    meter.tick()
    assert meter.per_second is None
    for _ in range(100):
        now += 40_000_000
        meter.tick()
    assert meter.per_second == pytest.approx(25.0)
