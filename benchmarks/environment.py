"""The block that goes with every measurement: machine, load, versions, commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from puppet.pipeline.environment import machine, versions


def environment() -> dict[str, Any]:
    """Read before the measurement begins, so that its own load is not in it."""
    return {
        "machine": machine(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions(),
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit that is measured; with '+' when the tree has changes. None outside of git."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
