"""Runs the live loop for a person at a terminal: signals, events, the table at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from puppet.cli.show import console, show_event, show_result

if TYPE_CHECKING:
    from puppet.contract import Sink
    from puppet.pipeline.settings import LiveSettings


def play(settings: LiveSettings, report: Path | None, sinks: Sequence[Sink] = ()) -> None:
    """Runs until the end or a signal to end; files are finished in each case.

    `sinks` are used beside those of the settings.
    """
    from puppet.pipeline.live import LiveRun
    from puppet.pipeline.opening import Openers

    out = console()
    run = LiveRun(settings, openers=Openers(sinks=tuple(sinks)))
    run.events.listen(lambda event: show_event(out, event))
    with on_signals(run.stop):
        result = run.run()
    show_result(out, result, report)


@contextmanager
def on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """SIGINT, SIGTERM and a closed terminal (SIGHUP) end the work in order; a second one
    interrupts at once."""
    before: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:
        stop()
        for each, handler in before.items():
            signal.signal(each, handler)

    signals = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:  # not by nohup
        signals.append(hang_up)
    for wanted in signals:
        before[wanted] = signal.signal(wanted, end)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
