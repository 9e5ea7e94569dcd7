"""The avatar that ships with the project, made from its picture when it is first used."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from puppet.contract import BundleError, UserError
from puppet.system import data_dir

PORTRAIT_STEM = "demo_portrait"
"""puppet/data/demo_portrait.*"""


def demo_portrait() -> Path:
    """The shipped picture. Raises UserError when this installation lacks it."""
    folder = Path(str(files("puppet") / "data"))
    found = sorted(p for p in folder.glob(f"{PORTRAIT_STEM}.*") if p.suffix in (".png", ".jpg"))
    if not found:
        raise UserError(
            f"This installation lacks its demo portrait ({folder}): install webcam-puppet again."
        )
    return found[0]


def demo_avatar() -> Path:
    """The folder of the demo avatar; created in the user's cache when it is not there yet.

    A broken one, or one made by another version, is made anew.
    """
    from puppet.avatar.bundle import load_avatar

    portrait = demo_portrait()
    digest = hashlib.sha256(portrait.read_bytes()).hexdigest()[:12]
    folder = data_dir() / "demo" / digest
    name = "demo"
    bundle = folder / f"{name}.avatar"
    try:
        load_avatar(str(bundle))
    except BundleError:
        _make(portrait, name, folder)
    return bundle


def _make(portrait: Path, name: str, folder: Path) -> None:
    raise NotImplementedError
