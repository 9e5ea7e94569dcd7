"""One finding of `puppet doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "warn", "fail"]
OK: Status = "ok"
NOTE: Status = "note"
WARN: Status = "warn"
FAIL: Status = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    `fail`: nothing works without it; `warn`: something does not work; `note`: one way of several.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


def is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
