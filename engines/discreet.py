"""Runtimes that would report their use to their makers, imported so that they do not.

Nothing of a person's call leaves their machine because of this program, not even that it ran.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any


def import_openvino() -> Any:
    """The module openvino. Raises ImportError.

    Importing it sends an event to Google Analytics, unless the package openvino_telemetry is
    missing: then a stand-in of OpenVINO's own that sends nothing takes its place.
    """
    reporter = "openvino_telemetry"
    before: ModuleType | None = sys.modules.get(reporter)
    sys.modules[reporter] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import openvino
    finally:
        if before is None:
            del sys.modules[reporter]
        else:
            sys.modules[reporter] = before
    return openvino


def import_onnxruntime() -> Any:
    """The module onnxruntime. Raises ImportError.

    From 1.29 on (on Windows before) it reports sessions, with names of graphs and hashes of
    weights, to Microsoft, unless told not to.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # what Windows listens to
    return onnxruntime
