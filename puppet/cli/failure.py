"""The one place where an error becomes what a person reads, and an exit code.

2    a mistake that the user can mend: one sentence, no traceback
1    something unexpected: a short note, and where the details were written
130  interrupted

A library that crashes ends the process whatever is caught: `name_crashes` has it say where.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from engines.contract import EngineError
from puppet.contract import PuppetError

MENDABLE = 2
UNEXPECTED = 1
INTERRUPTED = 130
_KEPT_REPORTS = 20


def guarded(action: Callable[[], object]) -> int:
    """Runs `action`, prints what went wrong on stderr, returns the exit code."""
    try:
        action()
    except (PuppetError, EngineError) as error:
        _say(sentence(error))
        return MENDABLE
    except SystemExit as end:
        return _exit_code(end)
    except KeyboardInterrupt:
        _say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`puppet devices | head -1`): nobody to tell.
        sys.stderr.close()
        return 0
    except ImportError as error:
        from puppet.system import explain_import_error

        _say(explain_import_error(error))
        _say(f"Details: {write_crash_report(error, sys.argv)}")
        return MENDABLE
    except Exception as error:  # noqa: BLE001 (the program's edge: reported with its details)
        _say(f"Something unexpected went wrong: {type(error).__name__}: {error}")
        _say(f"Details for a bug report: {write_crash_report(error, sys.argv)}")
        return UNEXPECTED
    return 0


def name_crashes() -> None:
    """From here on a crash in a library of C code (camera, tracker, runtime) writes on stderr what
    each thread was doing; else the process would end without a word."""
    if not faulthandler.is_enabled():
        with contextlib.suppress(io.UnsupportedOperation, RuntimeError):  # a stderr that is no file
            faulthandler.enable()


def sentence(error: BaseException) -> str:
    """The error's message; an OSError's without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def write_crash_report(error: BaseException, command: Sequence[str]) -> Path:
    """Writes the traceback into a file beside the user's data (else the temporary folder).

    It holds the command line, versions and the stack; no pictures and no landmarks.
    """
    from puppet.pipeline.environment import versions
    from puppet.system import data_dir

    text = "\n".join(
        [
            f"command: {' '.join(command)}",
            *(f"{package}: {version}" for package, version in versions().items()),
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (data_dir() / "errors", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(text, encoding="utf-8")
            for old in sorted(folder.glob("error-*.txt"))[:-_KEPT_REPORTS]:
                old.unlink()
            return path
        except OSError:
            continue
    return Path(name)


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    _say(str(end.code))
    return UNEXPECTED


def _say(text: str) -> None:
    print(f"puppet: {text}", file=sys.stderr)
