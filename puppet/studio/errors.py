"""What the control API answers with when it does not do what was asked."""

from __future__ import annotations

from puppet.contract import UserError


class NotFound(UserError):
    """There is no such avatar, camera or output."""


class Conflict(UserError):
    """It is there already, or going on already."""


class Busy(UserError):
    """The loop cannot take it now; trying again later helps."""


class Forbidden(UserError):
    """Not allowed here."""


class TooLarge(UserError):
    """More was sent than is read."""
