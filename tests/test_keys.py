"""Keys typed at a real terminal (a pseudo-terminal) steer a run that has no window."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")


class Terminal:
    """A pseudo-terminal that a program was started in, as its session's foreground."""

    def __init__(self, *command: str) -> None:
        import fcntl
        import termios

        self.mine, theirs = os.openpty()

        def take() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.program = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take
        )
        self.theirs = theirs  # kept open, to be looked at when the program has ended
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self.mine, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 60.0) -> str:
        """What matches first in the new text; AssertionError when nothing does in time."""
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self.text)) is None:
            assert time.monotonic() < end, f"{pattern!r} was not said: {self.text}"
            if select.select([self.mine], [], [], 0.2)[0]:
                self.text += os.read(self.mine, 65536).decode("utf-8", "replace")
        self.text = self.text[found.end() :]
        return found[0]

    def local_modes(self) -> int:
        import termios

        modes = termios.tcgetattr(self.theirs)[3]
        assert isinstance(modes, int)
        return modes

    def close(self) -> None:
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self.mine)
        os.close(self.theirs)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    from puppet.pipeline.demo import demo_avatar

    monkeypatch.setenv("COLUMNS", "120")
    started = Terminal(
        sys.executable, "-m", "puppet.cli.main", "run", "--avatar", str(demo_avatar()),
        "--camera", "demo", "--sink", "null",
    )  # fmt: skip
    yield started
    started.close()


def test_keys_steer_a_run_without_a_window(terminal: Terminal) -> None:
    import termios

    usual = terminal.local_modes()
    terminal.wait_for("Calibrated on your neutral face")
    assert not terminal.local_modes() & (termios.ICANON | termios.ECHO)
    terminal.type("c")
    terminal.wait_for("Look straight ahead with a relaxed face")
    terminal.wait_for("Calibrated on your neutral face")
    terminal.type("p")
    terminal.wait_for("The slate is on every output")
    terminal.type("?")
    terminal.wait_for("recalibrate: look straight ahead")
    terminal.type("q")
    terminal.wait_for("without a face")  # the closing table
    assert terminal.program.wait(20) == 0
    assert terminal.local_modes() == usual


def test_ctrl_c_still_ends_the_run_and_the_terminal_is_as_before(terminal: Terminal) -> None:
    usual = terminal.local_modes()
    terminal.wait_for("Calibrated")
    terminal.type("\x03")
    terminal.wait_for("without a face")
    assert terminal.program.wait(20) == 0
    assert terminal.local_modes() == usual


def test_a_run_in_the_background_leaves_the_terminal_alone(tmp_path: Path) -> None:
    """A shell's job with `&`: to read from the terminal would stop it, to set it as well."""
    import termios

    job = f"{sys.executable} -m puppet.cli.main demo --seconds 2 --out {tmp_path / 'd.mp4'}"
    shell = Terminal("bash", "-c", f"set -m; {job} & sleep 1; echo waiting; wait %1; echo end $?")
    try:
        shell.wait_for("waiting")
        assert shell.local_modes() & termios.ICANON
        shell.type("q")
        said = shell.wait_for(r"end \d+")
        assert said == "end 0"
        assert (tmp_path / "d.mp4").stat().st_size > 10_000
    finally:
        os.killpg(shell.program.pid, signal.SIGTERM) if shell.program.poll() is None else None
        shell.close()
