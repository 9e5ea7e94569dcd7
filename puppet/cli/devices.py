"""`puppet devices`: the cameras, by number and name, and the microphones."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the cameras of this machine, by number and name, and its microphones."""
    from puppet.capture.devices import can_list_cameras, list_cameras
    from puppet.capture.microphone import list_microphones
    from puppet.contract import SourceError

    cameras = list_cameras()
    if as_json:
        print(json.dumps([asdict(camera) for camera in cameras], indent=2))
        return
    from rich.markup import escape
    from rich.table import Table

    from puppet.cli.show import console

    out = console()
    try:
        heard = ", ".join(list_microphones()) or "none found"
    except SourceError as error:
        heard = str(error)
    microphones = f"Microphones, for --microphone: {heard}"
    if not cameras:
        if can_list_cameras():
            out.print("No camera found. Plug one in, or use '--camera demo' to try without one.")
        else:
            out.print(
                "Cameras cannot be listed here: run 'pip install cv2-enumerate-cameras' for their "
                "names, or name them by number: '--camera 0'."
            )
        out.print(microphones, highlight=False, markup=False)
        return
    table = Table()
    for column in ("--camera", "name", "device", ""):
        table.add_column(column)
    for camera in cameras:
        note = "virtual: programs send to it" if camera.is_virtual_output else ""
        table.add_row(str(camera.index), escape(camera.name), camera.path or "-", note)
    out.print(table)
    out.print(microphones, highlight=False, markup=False)
