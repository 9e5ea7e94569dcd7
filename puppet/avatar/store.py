"""Where avatars live, and what they are called."""

from __future__ import annotations

import os
import re
from pathlib import Path

from puppet.contract import BundleError, UserError
from puppet.system import data_dir, expanded

SUFFIX = ".avatar"
_NAME = re.compile(r"[^\W_][\w .\-]{0,62}[\w\-]|[^\W_]")
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{p}{i}" for p in ("com", "lpt") for i in range(1, 10)}


def avatars_dir() -> Path:
    """The folder of this user's avatars; it may not exist yet."""
    return data_dir() / "avatars"


def check_name(name: str) -> str:
    """The name, or UserError: it becomes a folder's name on every platform."""
    if not _NAME.fullmatch(name) or name.split(".")[0].lower() in _RESERVED:
        raise UserError(
            f"{name!r} cannot be an avatar's name: use letters, digits, '-', '_', '.' and spaces, "
            "at most 64 characters, starting with a letter or digit."
        )
    return name


def bundle_path(name_or_path: str | Path) -> Path:
    """The bundle's folder. Raises BundleError that lists what there is when it does not exist."""
    text = os.fspath(name_or_path)
    named = avatars_dir() / f"{text}{SUFFIX}"
    if isinstance(name_or_path, str) and _NAME.fullmatch(text) and named.is_dir():
        return named
    path = expanded(text)
    if path.is_dir():
        return path
    if path.exists():
        from puppet.avatar.images import why_no_photo

        if problem := why_no_photo(path):
            raise BundleError(
                f"{path} is not an avatar but a file, and not a picture that could become one"
                f"{problem} Give an avatar's name or its folder; 'puppet avatar list' names them."
            )
        raise BundleError(
            f"{path} is not an avatar but a file. Make one of a picture with "
            f"'puppet avatar create {path.name} --name NAME --consent BASIS'."
        )
    known = list_avatars()
    there = f"There are: {', '.join(known)}." if known else "There are none yet."
    raise BundleError(
        f"There is no avatar '{text}'. {there} "
        "Make one with 'puppet avatar create PHOTO --name NAME --consent BASIS'."
    )


def list_avatars() -> list[str]:
    """The names of this user's avatars, sorted; not checked for being sound."""
    try:
        folders = list(avatars_dir().iterdir())
    except OSError:
        return []
    names = [folder.name[: -len(SUFFIX)] for folder in folders if folder.name.endswith(SUFFIX)]
    return sorted(
        (n for n in names if _NAME.fullmatch(n) and (avatars_dir() / f"{n}{SUFFIX}").is_dir()),
        key=str.lower,
    )
