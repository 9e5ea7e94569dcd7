"""Runs the live loop with the control panel beside it."""

from __future__ import annotations

import os
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from puppet.cli.live import run_to_the_end
from puppet.cli.show import console, show_event, show_result

if TYPE_CHECKING:
    from puppet.pipeline.settings import LiveSettings
    from puppet.studio.control import Studio
    from puppet.studio.server import StudioServer


@dataclass(frozen=True, slots=True)
class PanelOptions:
    """How the panel is served."""

    port: int
    browser: bool = False
    expose: str | None = None
    """An address other than loopback to be reached at, or None."""
    record_to: Path | None = None


def play_with_panel(settings: LiveSettings, options: PanelOptions, report: Path | None) -> None:
    """Runs until the end, Ctrl-C, SIGTERM or the panel's quit; files are finished in each case."""
    out = console()
    studio, server = _serve(settings, options)
    studio.run.events.listen(lambda event: show_event(out, event))
    try:
        server.start()
        out.print(f"The panel: {server.url}", highlight=False, soft_wrap=True)
        if options.expose is not None:
            out.print(
                "[yellow]![/yellow] Other machines can reach it; the connection is not encrypted."
            )
        if options.browser:
            webbrowser.open(server.url)
        result = run_to_the_end(studio.run, report)
    finally:
        server.close()
    show_result(out, result, report)


def _serve(settings: LiveSettings, options: PanelOptions) -> tuple[Studio, StudioServer]:
    """Takes the port before anything else is opened."""
    from puppet.contract import UserError

    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"The control panel needs packages that are not installed ({error.name}): "
            "pip install 'webcam-puppet[studio]'"
        ) from error
    from puppet.studio.control import Studio
    from puppet.studio.server import LOOPBACK, TOKEN_VARIABLE, StudioServer

    studio = Studio(settings, recordings=options.record_to, exposed=options.expose is not None)
    server = StudioServer(
        studio,
        port=options.port,
        address=options.expose or LOOPBACK,
        token=os.environ.get(TOKEN_VARIABLE) or None,
    )
    return studio, server
