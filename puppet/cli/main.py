"""`puppet`: the program, its sub-commands, and those that other packages add.

A higher layer (calibration, benchmarks) registers its commands in the entry-point group
`puppet.commands`; nothing here imports it until such a command is asked for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from puppet import __version__
from puppet.cli import avatar, demo, devices, doctor, export_repository, render, run, sound, studio
from puppet.cli.failure import guarded, name_crashes

GROUP = "puppet.commands"
ORDER = (
    "demo",
    "avatar",
    "calibrate",
    "run",
    "studio",
    "render",
    "devices",
    "doctor",
    "sound-delay",
    "build",
    "export-model-repository",
)
"""As a newcomer needs them; commands that are not named here come last."""

HELP = """A portrait follows your face, live: in a video call, a stream, or a file.

Only landmarks cross from you to the portrait; no picture of you reaches an output.

[bold]Start here[/bold]

  puppet demo                        everything once, no camera needed
  puppet doctor                      what works on this machine
  puppet avatar create photo.jpg --name anna --consent self
  puppet run --avatar anna           your webcam drives it, in a window
  puppet run --avatar anna --sink virtual      as a camera for video calls
  puppet studio                      sliders, outputs and recording on a page
  puppet render --avatar anna --driver clip.mp4 -o out.mp4
"""


class PuppetGroup(TyperGroup):
    """The built-in commands, and those of installed packages, loaded when they are used."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = {*super().list_commands(ctx), *(entry.name for entry in _plug_ins())}
        known = [name for name in ORDER if name in names]
        return known + sorted(names.difference(ORDER))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        built_in = super().get_command(ctx, cmd_name)
        if built_in is not None:
            return built_in
        for entry in _plug_ins():
            if entry.name == cmd_name:
                return _load(entry)
        return None


def _plug_ins() -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name)


def _load(entry: metadata.EntryPoint) -> Any:
    """An entry point names a `typer.Typer`, or a function to be a command."""
    try:
        found = entry.load()
    except ImportError as error:
        return _unavailable(entry, error)
    if isinstance(found, typer.Typer):
        command = typer.main.get_command(found)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name=entry.name)(found)
        command = typer.main.get_command(single)
    command.name = entry.name
    return command


def _unavailable(entry: metadata.EntryPoint, reason: ImportError) -> Any:
    """A command in the place of one whose package lacks something; says so when called."""

    def explain() -> None:
        from puppet.contract import UserError
        from puppet.system import explain_import_error

        raise UserError(f"'puppet {entry.name}' cannot run: {explain_import_error(reason)}")

    explain.__doc__ = f"Not available here: {reason}."
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    single = typer.Typer(add_completion=False)
    single.command(name=entry.name, context_settings=anything)(explain)
    return typer.main.get_command(single)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="puppet",
        cls=PuppetGroup,
        help=HELP,
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    app.command(name="demo")(demo.demo)
    app.add_typer(avatar.app, name="avatar")
    app.command(name="run")(run.run)
    app.command(name="studio")(studio.studio)
    app.command(name="render")(render.render)
    app.command(name="devices")(devices.devices)
    app.command(name="doctor")(doctor.doctor)
    app.command(name="sound-delay")(sound.sound_delay)
    app.command(name="export-model-repository")(export_repository.export_model_repository)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"webcam-puppet {__version__}")
        raise typer.Exit


def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show what happens inside.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Ends the process with the exit code of `puppet.cli.failure`."""
    name_crashes()
    app = build()
    run_app: Callable[[], object] = lambda: app(  # noqa: E731
        args=None if arguments is None else list(arguments), prog_name="puppet"
    )
    sys.exit(guarded(run_app))


if __name__ == "__main__":
    main()
