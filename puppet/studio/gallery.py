"""The avatars the panel offers: the user's own, and those the run was started with."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from puppet.avatar.bundle import SCHEMA, save_avatar
from puppet.avatar.consent import Consent
from puppet.avatar.create import create_avatar
from puppet.avatar.files import read_file, read_manifest
from puppet.avatar.store import SUFFIX, avatars_dir, bundle_path, check_name, list_avatars
from puppet.contract import BundleError, UserError
from puppet.studio.errors import Conflict, NotFound

MAX_UPLOAD_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """An avatar in the gallery."""

    id: str
    """What the API calls it: a name, never a path."""
    asked: str
    """What the loop is asked for."""
    consent: str = ""
    whose: str = ""
    error: str | None = None
    """Why it cannot be shown."""


class Gallery:
    """Lists and makes avatars. From any thread; one is made at a time."""

    def __init__(self, of_run: Sequence[str]) -> None:
        """`of_run`: the names or folders that the run was started with."""
        self._of_run = tuple(of_run)
        self._making = threading.Lock()

    def entries(self) -> list[Entry]:
        """Those of the run first, then the user's others by name."""
        asked: dict[str, str] = {}
        for name in (*self._of_run, *list_avatars()):
            asked.setdefault(_id_of(name), name)
        return [_entry(id_, name) for id_, name in asked.items()]

    def find(self, id_: str) -> str:
        """What the loop is asked for. Raises NotFound; a path is never looked up."""
        for name in (*self._of_run, *list_avatars()):
            if _id_of(name) == id_:
                return name
        known = ", ".join(dict.fromkeys(_id_of(n) for n in (*self._of_run, *list_avatars())))
        raise NotFound(f"There is no avatar {id_!r}. There are: {known}.")

    def id_of(self, asked: str) -> str:
        """The id of what the loop was asked for."""
        return _id_of(asked)

    def thumbnail(self, id_: str) -> bytes:
        """A JPEG. Raises NotFound, BundleError."""
        folder = bundle_path(self.find(id_))
        return read_file(folder, "thumbnail.jpg", read_manifest(folder, SCHEMA))

    def create(
        self,
        picture: bytes,
        name: str,
        consent: Consent,
        face: int | None,
        on_step: Callable[[str], None],
    ) -> str:
        """Makes an avatar of a picture that somebody sent; its id.

        Raises UserError with a sentence (no picture, no face, no name), Conflict.
        """
        check_name(name)
        taken = name.casefold()
        if any(taken == e.id.casefold() for e in self.entries()):
            raise Conflict(f"There is an avatar named {name!r} already: choose another name.")
        if not self._making.acquire(blocking=False):
            raise Conflict("An avatar is being made already: wait until it is done.")
        try:
            with tempfile.TemporaryDirectory(prefix="puppet-upload-") as folder:
                # The name is ours: what the sender calls the file never becomes a path.
                path = Path(folder) / "picture"
                path.write_bytes(picture)
                try:
                    avatar = create_avatar(path, name, consent, face=face, on_step=on_step)
                except UserError as error:
                    told = str(error).replace(str(path), "the picture").replace("--face N", "face")
                    raise type(error)(told[:1].upper() + told[1:]) from error
                on_step("saving")
                save_avatar(avatar)
        finally:
            self._making.release()
        return name


def _id_of(asked: str) -> str:
    """A name is its own id; a folder's is its last part."""
    if (avatars_dir() / f"{asked}{SUFFIX}").is_dir():
        return asked
    return Path(asked).name.removesuffix(SUFFIX)


def _entry(id_: str, asked: str) -> Entry:
    try:
        folder = bundle_path(asked)
        manifest = read_manifest(folder, SCHEMA)
        consent = Consent.from_json(manifest.values.get("consent"))
    except BundleError as error:
        return Entry(id_, asked, error=str(error))
    return Entry(id_, asked, consent.basis, consent.whose)
