"""What each command does to the parts of a running pipeline."""

from __future__ import annotations

from typing import TypeAlias

from puppet.contract import PuppetError, UserError
from puppet.output.preview import PreviewSink
from puppet.pipeline.commands import (
    KEYS,
    Adjust,
    ChangeBackground,
    Command,
    Cutout,
    Express,
    LabelCorner,
    LabelSize,
    MirrorPreview,
    NextAvatar,
    Panic,
    Pause,
    Quit,
    Recalibrate,
    ShowKeys,
    SwitchAvatar,
)
from puppet.pipeline.events import Events, Kind
from puppet.pipeline.parts import Parts

KEY_LINES = tuple(f"{'space' if key == ' ' else key}\t{what}" for key, (_, what) in KEYS.items())
_Switch: TypeAlias = tuple[tuple[Kind, str], tuple[Kind, str]]
_PAUSED: _Switch = (("paused", "Paused: the portrait rests."), ("resumed", "Going on."))
_PANIC: _Switch = (
    ("panic", "The slate is on every output."),
    ("panic-over", "The portrait is back."),
)


class Actions:
    """Carries commands out between two pictures; used by the work thread alone."""

    def __init__(self, parts: Parts, events: Events) -> None:
        self._parts = parts
        self._events = events

    def obey(self, commands: list[Command]) -> bool:
        """Carries commands out; a refused one is told. True when the run shall end."""
        for command in commands:
            if isinstance(command, Quit):
                return True
            try:
                self._carry_out(command)
            except PuppetError as error:
                self._events.tell("refused", str(error))
        self._change_avatar()
        return False

    def _carry_out(self, command: Command) -> None:
        performer = self._parts.performer
        match command:
            case Pause(on):
                performer.paused = _switched(performer.paused, on)
                self._tell_switch(performer.paused, _PAUSED)
            case Panic(on):
                performer.panicking = _switched(performer.panicking, on)
                self._tell_switch(performer.panicking, _PANIC)
            case NextAvatar() | SwitchAvatar():
                self._ask_for_avatar(command)
            case LabelSize(size):
                performer.set_label_size(size)
            case LabelCorner(corner):
                performer.set_label_corner(corner)
            case ChangeBackground(background):
                performer.set_background(background)
            case Cutout(on):
                performer.set_cutout(on)
            case Recalibrate() | Express() | Adjust():
                self._steer_driver(command)
            case MirrorPreview() | ShowKeys():
                self._change_previews(command)

    def _steer_driver(self, command: Recalibrate | Express | Adjust) -> None:
        driver = self._parts.performer.driver
        match command:
            case Recalibrate():
                driver.recalibrate()
                self._events.tell("calibrating", "Look straight ahead with a relaxed face.")
            case Express(name, seconds, strength):
                driver.make_face(name, seconds, strength)
                self._events.tell("expression", name or "none")
            case Adjust(changes):
                driver.adjust(changes)
                told = ", ".join(f"{name} {value}" for name, value in changes.items())
                self._events.tell("adjusted", told)

    def _change_previews(self, command: MirrorPreview | ShowKeys) -> None:
        for preview in self._parts.fan_out.sinks:
            if not isinstance(preview, PreviewSink):
                continue
            match command:
                case MirrorPreview(on):
                    preview.mirror = _switched(preview.mirror, on)
                case ShowKeys(on):
                    preview.text = KEY_LINES if _switched(bool(preview.text), on) else ()

    def _ask_for_avatar(self, command: NextAvatar | SwitchAvatar) -> None:
        if isinstance(command, SwitchAvatar):
            self._parts.cast.ask(command.avatar)
        elif not self._parts.cast.ask_next():
            raise UserError("There is no other avatar: name several with --avatar.")

    def _change_avatar(self) -> None:
        """Puts on what was asked for earlier and is loaded by now."""
        for name, error in self._parts.cast.take_failures():
            self._events.tell("avatar-failed", f"{name} cannot be shown: {error}")
        self._parts.cast.stage(self._parts.performer.scene_settings)
        role = self._parts.cast.take()
        if role is not None:
            self._parts.performer.switch(role)

    def _tell_switch(self, on: bool, told: _Switch) -> None:
        self._events.tell(*told[0 if on else 1])


def _switched(now: bool, wanted: bool | None) -> bool:
    """None toggles."""
    return not now if wanted is None else wanted
