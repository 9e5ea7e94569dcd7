"""What the operating system has to bring: shared libraries, and the folder for the user's data."""

from __future__ import annotations

import os
import re
from pathlib import Path

DATA_FOLDER_VARIABLE = "PUPPET_HOME"

# Shared library -> package, as OpenCV and MediaPipe ask for them on slim systems.
_DEBIAN = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libGLESv2.so": "libgles2",
    "libgthread-2.0.so": "libglib2.0-0",
    "libglib-2.0.so": "libglib2.0-0",
    "libSM.so": "libsm6",
    "libICE.so": "libice6",
    "libX11.so": "libx11-6",
    "libXext.so": "libxext6",
    "libXrender.so": "libxrender1",
    "libxcb.so": "libxcb1",
    "libstdc++.so": "libstdc++6",
    "libgomp.so": "libgomp1",
    "libusb-1.0.so": "libusb-1.0-0",
    "libportaudio.so": "libportaudio2",
}
_FEDORA = {
    "libGL.so": "mesa-libGL",
    "libEGL.so": "mesa-libEGL",
    "libGLESv2.so": "libglvnd-gles",
    "libgthread-2.0.so": "glib2",
    "libglib-2.0.so": "glib2",
    "libSM.so": "libSM",
    "libICE.so": "libICE",
    "libX11.so": "libX11",
    "libXext.so": "libXext",
    "libXrender.so": "libXrender",
    "libxcb.so": "libxcb",
    "libstdc++.so": "libstdc++",
    "libgomp.so": "libgomp",
    "libusb-1.0.so": "libusb1",
    "libportaudio.so": "portaudio",
}
_MISSING = re.compile(
    r"(?P<library>lib[\w+.\-]+?\.so)(?P<version>[.\d]*): cannot open shared object"
)


def expanded(path: str | Path) -> Path:
    """With `~` and `~user` replaced by the home folder; one of nobody stays as it is, and is then
    missed as a file would be."""
    return Path(os.path.expanduser(path))


def data_dir() -> Path:
    """The folder of this user's avatars, profiles and models; not created by this call.

    `PUPPET_HOME` replaces the platform's own place for it.
    """
    chosen = os.environ.get(DATA_FOLDER_VARIABLE)
    if chosen:
        return expanded(chosen)
    from platformdirs import user_data_path

    return user_data_path("webcam-puppet", appauthor=False)


def explain_import_error(error: ImportError) -> str:
    """A sentence for the user: what is missing, and the package that brings it."""
    text = str(error)
    found = _MISSING.search(text)
    if found is not None:
        library = found["library"]
        debian, fedora = _DEBIAN.get(library), _FEDORA.get(library)
        name = library + found["version"]
        if debian is not None and fedora is not None:
            return (
                f"The system library {name} is missing. Install it with "
                f"'sudo apt-get install {debian}' (Debian, Ubuntu) or "
                f"'sudo dnf install {fedora}' (Fedora), then try again."
            )
        return (
            f"The system library {name} is missing. Install the package of your system that "
            f"brings it ('apt-file search {name}' or 'dnf provides {name}' names it)."
        )
    if "DLL load failed" in text:
        return (
            f"A library could not be loaded ({text}). Install the 'Microsoft Visual C++ "
            "Redistributable 2015-2022 (x64)', then try again."
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"The Python package '{error.name}' is missing. Reinstall with "
            "'pip install --force-reinstall webcam-puppet'."
        )
    return f"A library could not be loaded: {text}"
