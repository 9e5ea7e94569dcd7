"""Runs the live loop for a person at a terminal: signals, events, the table at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from puppet.cli.failure import sentence
from puppet.cli.keys import terminal_keys
from puppet.cli.show import console, show_event, show_keys, show_result
from puppet.contract import UserError

if TYPE_CHECKING:
    from puppet.contract import Sink
    from puppet.pipeline.live import LiveRun
    from puppet.pipeline.report import Report
    from puppet.pipeline.settings import LiveSettings


def play(settings: LiveSettings, report: Path | None, sinks: Sequence[Sink] = ()) -> Report:
    """Runs until the end or a signal to end; files are finished in each case.

    `sinks` are used beside those of the settings.
    """
    from puppet.pipeline.live import LiveRun
    from puppet.pipeline.opening import Openers

    out = console()
    run = LiveRun(settings, openers=Openers(sinks=tuple(sinks)))
    run.events.listen(lambda event: show_event(out, event))
    result = run_to_the_end(run, report)
    show_result(out, result, report)
    return result


def run_to_the_end(run: LiveRun, report: Path | None) -> Report:
    """Until its end or a signal to end. When it ends in an error, the figures up to there are
    written into `report` with the error, which is raised then."""
    from puppet.pipeline.report import write_json

    try:
        with on_signals(run.stop), terminal_keys(_key_of(run)):
            return run.run()
    except Exception as error:
        if report is not None and run.has_started:
            with suppress(UserError):  # the first error is the one to be told
                write_json(report, {**run.report().as_dict(), "error": sentence(error)})
        raise


def _key_of(run: LiveRun) -> Callable[[str], None]:
    """The preview's keys for the terminal, where `?` prints them."""
    from puppet.pipeline.actions import KEY_LINES

    def press(key: str) -> None:
        if key == "?":
            show_keys(console(), KEY_LINES)
        else:
            run.commands.press(key)

    return press


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
