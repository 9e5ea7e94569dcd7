"""Keeps the known chatter of MediaPipe's C++ side off the terminal; anything else gets through."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTER = re.compile(
    rb"XNNPACK delegate|absl::InitializeLog|InitGoogle|inference_feedback_manager|NORM_RECT without"
    rb"|gl_context|GL version|OpenGL error|EGL|face_landmarker_graph|TensorFlow Lite"
    rb"|Sets FaceBlendshapesGraph|portable_clearcut|GetLogTypeUsage"
)
_redirecting = threading.Lock()


def quiet_environment() -> None:
    """Asks the logging libraries for warnings at most; only works before they are loaded."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def without_chatter() -> Iterator[None]:
    """Catches what is written to file descriptor 2 and passes on all but the known chatter.

    The lines come from C++ threads, past Python's sys.stderr, and cannot be switched off by
    any option. Costs about 0.1 ms, so it is used while a graph starts and until its models
    have run once, not on every frame.
    """
    with _redirecting:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (OSError, AttributeError, ValueError):  # no stderr at all (a windowed program)
            yield
            return
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                caught.seek(0)
                rest = b"".join(line for line in caught if not _CHATTER.search(line))
                if rest:
                    os.write(2, rest)
