"""The keys of a run, typed at the terminal: for outputs that have no window."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

POLL_S = 0.2
"""How long the end of a run may wait for the reader."""


@contextmanager
def terminal_keys(press: Callable[[str], object]) -> Iterator[None]:
    """Hands every key typed at the terminal to `press`, on a thread of its own, until the block
    ends. Without a terminal nothing is read. Ctrl-C and Ctrl-Z go on to mean what they mean."""
    if not _is_terminal():
        yield
        return
    over = threading.Event()
    read = _read_windows if sys.platform == "win32" else _read_posix
    reader = threading.Thread(target=read, args=(press, over), name="keys", daemon=True)
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join(5 * POLL_S)


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):  # a windowed program has no standard input
        return False


def _read_posix(press: Callable[[str], object], over: threading.Event) -> None:
    """Single keys, unseen, while the program is in the foreground: a job in the background that
    reads from its terminal is stopped by it."""
    if sys.platform == "win32":
        return
    import select
    import termios

    terminal = sys.stdin.fileno()
    usual: list[int | list[bytes | int]] | None = None
    try:
        while not over.is_set():
            if os.tcgetpgrp(terminal) != os.getpgrp():
                usual = None  # whoever is in the foreground has the terminal as it likes
                over.wait(POLL_S)
                continue
            now = termios.tcgetattr(terminal)
            if now[3] & termios.ICANON:  # at the start, and after having been stopped
                usual = now.copy()
                now[3] &= ~(termios.ICANON | termios.ECHO)
                termios.tcsetattr(terminal, termios.TCSANOW, now)
            if select.select([terminal], [], [], POLL_S)[0]:
                typed = os.read(terminal, 64)
                if not typed:  # hung up
                    return
                for key in typed.decode("ascii", "ignore"):
                    press(key)
    except (OSError, termios.error):
        return  # the terminal has gone; the run goes on without keys
    finally:
        if usual is not None:
            with suppress(termios.error):
                termios.tcsetattr(terminal, termios.TCSANOW, usual)


def _read_windows(press: Callable[[str], object], over: threading.Event) -> None:
    if sys.platform == "win32":
        import msvcrt

        while not over.wait(POLL_S / 4):
            while msvcrt.kbhit():
                press(msvcrt.getwch())
