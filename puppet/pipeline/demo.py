"""The avatar that ships with the project, made from its picture when it is first used."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from puppet.contract import BundleError, UserError
from puppet.system import data_dir

NAME = "demo"
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
    """The folder of the demo avatar; made in the user's data folder when it is not there yet.

    A broken one, or one of another version, is made anew. Raises UserError, TrackerError.
    """
    from puppet.avatar.bundle import load_avatar, save_avatar
    from puppet.avatar.consent import Consent
    from puppet.avatar.create import create_avatar
    from puppet.avatar.store import SUFFIX

    portrait = demo_portrait()
    digest = hashlib.sha256(portrait.read_bytes()).hexdigest()
    folder = data_dir() / "demo" / digest[:12] / f"{NAME}{SUFFIX}"
    try:
        load_avatar(folder)
    except BundleError:
        consent = Consent("synthetic", whose="drawn for this project")
        save_avatar(create_avatar(portrait, NAME, consent, folder=folder), overwrite=True)
    return folder
