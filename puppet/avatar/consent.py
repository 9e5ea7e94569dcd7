"""Whose face an avatar shows, and what allows it. Every avatar carries this record."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from puppet.contract import BundleError, UserError

BASES = {
    "self": "the picture shows you",
    "written": "the person shown has agreed in writing",
    "synthetic": "no real person: drawn, rendered or made by a generator",
    "public-domain": "a work in the public domain: a painting, a statue, a historical picture",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Consent:
    """The record; `picture_sha256` is filled in when the avatar is made."""

    basis: str
    """One of BASES."""
    whose: str = ""
    """Whose face, in the user's words; may be empty for `self` and `synthetic`."""
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())
    """When it was given or recorded, ISO 8601."""
    picture_sha256: str = ""
    """Of the file the avatar was made from."""

    def __post_init__(self) -> None:
        if self.basis not in BASES:
            raise UserError(
                f"{self.basis!r} is no basis of consent. Choose one of: "
                + "; ".join(f"{name} ({meaning})" for name, meaning in BASES.items())
                + "."
            )
        if len(self.whose) > _LONGEST_TEXT or not self.whose.isprintable():
            raise UserError(f"'whose' must be printable and at most {_LONGEST_TEXT} characters.")
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise UserError(f"{self.date!r} is not a date like 2026-01-31.") from error
        if self.picture_sha256 and not _SHA256.fullmatch(self.picture_sha256):
            raise UserError("The picture's hash must be 64 hexadecimal digits.")

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> Consent:
        """Raises BundleError when it is missing, incomplete or says something unknown."""
        if not isinstance(record, Mapping) or not record.get("basis"):
            raise BundleError(
                "The avatar has no consent record (whose face it is, and what allows its use). "
                "Create it again with 'puppet avatar create PHOTO --name NAME --consent BASIS'."
            )
        values = {}
        for key in ("basis", "whose", "date", "picture_sha256"):
            value = record.get(key)
            if not isinstance(value, str):
                raise BundleError(f"The avatar's consent record lacks {key!r}: create it again.")
            values[key] = value
        if not values["picture_sha256"]:
            raise BundleError("The avatar's consent record names no picture: create it again.")
        try:
            return cls(**values)
        except UserError as error:
            raise BundleError(f"The avatar's consent record is not valid: {error}") from error


def require_consent(consent: Consent | None) -> Consent:
    """Raises UserError that names the choices when there is no consent."""
    if consent is None:
        raise UserError(
            "No portrait without a basis of consent. Say what allows the use of this face with "
            "--consent: "
            + "; ".join(f"'{name}': {meaning}" for name, meaning in BASES.items())
            + "."
        )
    return consent
