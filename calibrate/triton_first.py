"""Imported for its effect: loads Triton, where torch came with it, before anything draws.

The usual torch for Linux brings Triton, and the first optimiser loads it. Triton crashes the
process if Mesa's LLVM is there already, and MediaPipe loads that wherever there is a display.
In the other order both work.
"""

from __future__ import annotations

import contextlib
import importlib

with contextlib.suppress(ImportError):
    importlib.import_module("triton")
