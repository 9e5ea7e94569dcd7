"""How landmark images, portraits and pictures travel between a laptop and a generator elsewhere.

Contours are black with thin lines: zlib makes 4 kB of 196. Motion is smooth: in steps of 1/64
pixel, as differences from the left neighbour, zlib makes some 10 kB of 131. Pictures go as JPEG
(colour) and zlib (matte, exact). Everything that is unpacked is bounded and checked first, on
both sides: either may be talking to a stranger.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import MOTION_SIZE, PICTURE_SIZE, EngineError, LandmarkImage, PortraitTensors
from engines.graph import FRAME_INPUTS

JPEG_QUALITY = 92
MAX_PORTRAIT_BYTES = 64 * 2**20
_STEPS = 16384.0
"""Per unit of half the picture: 1/64 pixel of 512, and +-2 is the whole range of 16 bits."""
_HEAD = struct.Struct("<4sI")
_MAGIC = b"WPP1"


class WireError(EngineError, ValueError):
    """Bytes that are not what the other side should have sent."""


def pack_frame(image: LandmarkImage, names: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    """The inputs `names` of a frame ('contours', 'motion'), each as packed bytes."""
    packed = {}
    if "contours" in names:
        packed["contours"] = np.frombuffer(_pack_contours(image.contours), np.uint8)
    if "motion" in names:
        packed["motion"] = np.frombuffer(_pack_motion(image.motion), np.uint8)
    return packed


def unpack_frame(packed: dict[str, NDArray[np.uint8]]) -> LandmarkImage:
    """The landmark image; an input that was not sent is black or still. Raises WireError."""
    empty = {name: np.zeros(shape, dtype) for name, (shape, dtype) in FRAME_INPUTS.items()}
    contours, motion = empty["contours"], empty["motion"]
    if "contours" in packed:
        flat = _inflate(packed["contours"].tobytes(), contours.size)
        contours = np.frombuffer(flat, np.uint8).reshape(contours.shape)
    if "motion" in packed:
        motion = _unpack_motion(packed["motion"].tobytes())
    return LandmarkImage(contours, motion)


def pack_picture(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(512, 512, 4) RGBA to bytes (n,); 40 to 90 kB."""
    import cv2

    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR), settings)
    if not done:
        raise WireError("The picture cannot be packed as JPEG.")
    matte = zlib.compress(_differences(rgba[:, :, 3]).tobytes(), 1)
    head = _HEAD.pack(_MAGIC, jpeg.size)
    return np.frombuffer(head + jpeg.tobytes() + matte, np.uint8)


def unpack_picture(data: NDArray[np.uint8], into: NDArray[np.uint8]) -> None:
    """Bytes to a (512, 512, 4) picture, written into `into`. Raises WireError, then `into` is
    unchanged."""
    import cv2

    raw = data.tobytes()
    if len(raw) < _HEAD.size:
        raise WireError("The picture that came is too short.")
    magic, length = _HEAD.unpack_from(raw)
    jpeg = raw[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or len(jpeg) != length:
        raise WireError("What came is not a picture of webcam-puppet, or it is cut off.")
    if _jpeg_size(jpeg) != (PICTURE_SIZE, PICTURE_SIZE):
        raise WireError("The picture that came has another size.")
    matte = _inflate(raw[_HEAD.size + length :], PICTURE_SIZE * PICTURE_SIZE)
    try:
        colour: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise WireError("The picture that came cannot be decoded.") from error
    if colour is None or colour.shape != (PICTURE_SIZE, PICTURE_SIZE, 3):
        raise WireError("The picture that came cannot be decoded.")
    cv2.cvtColor(colour, cv2.COLOR_BGR2RGBA, dst=into)
    differences = np.frombuffer(matte, np.uint8).reshape(PICTURE_SIZE, PICTURE_SIZE)
    into[:, :, 3] = np.add.accumulate(differences, axis=1, dtype=np.uint8)


def portrait_key(tensors: PortraitTensors) -> str:
    """SHA-256 in hex of a portrait's tensors, with their names and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{list(tensor.shape)};".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def pack_portrait(tensors: PortraitTensors) -> NDArray[np.uint8]:
    """Tensors to bytes (n,), some MB; sent once."""
    from safetensors.numpy import save

    return np.frombuffer(save({n: np.ascontiguousarray(t) for n, t in tensors.items()}), np.uint8)


def unpack_portrait(data: NDArray[np.uint8], key: str) -> dict[str, NDArray[np.float32]]:
    """Bytes to tensors, which must be those of `key`. Raises WireError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if data.size > MAX_PORTRAIT_BYTES:
        raise WireError(f"The portrait is larger than {MAX_PORTRAIT_BYTES // 2**20} MB.")
    try:
        tensors: dict[str, NDArray[np.float32]] = load(data.tobytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise WireError("The portrait is not a safetensors file.") from error
    if portrait_key(tensors) != key:
        raise WireError("The portrait is not the one that was announced.")
    return tensors


def _pack_contours(contours: NDArray[np.uint8]) -> bytes:
    return zlib.compress(np.ascontiguousarray(contours).data, 1)


def _pack_motion(motion: NDArray[np.float32]) -> bytes:
    steps = np.clip(np.rint(motion * _STEPS), -32768, 32767).astype(np.int16)
    planes = np.ascontiguousarray(steps.transpose(2, 0, 1))
    planes[:, :, 1:] -= planes[:, :, :-1].copy()  # wraps around, as the sum does on the way back
    halves = planes.view(np.uint8).reshape(-1, 2)
    return zlib.compress(halves.T.tobytes(), 1)


def _unpack_motion(data: bytes) -> NDArray[np.float32]:
    flat = np.frombuffer(_inflate(data, 2 * 2 * MOTION_SIZE * MOTION_SIZE), np.uint8)
    planes = np.ascontiguousarray(flat.reshape(2, -1).T).view(np.int16)
    planes = planes.reshape(2, MOTION_SIZE, MOTION_SIZE)
    steps = np.add.accumulate(planes, axis=2, dtype=np.int16)
    return np.ascontiguousarray(steps.transpose(1, 2, 0), np.float32) / np.float32(_STEPS)


def _differences(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = plane.copy()
    found[:, 1:] -= plane[:, :-1]
    return found


def _inflate(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes out of a zlib stream; never makes more than that."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, size)
        ended = stream.eof or not stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise WireError("What came is damaged.") from error
    if len(raw) != size or not ended:
        raise WireError("What came has another size than it should.")
    return raw


def _jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    """(width, height) as the frame header says, before a decoder makes room for it."""
    if not jpeg.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 < len(jpeg) and jpeg[at] == 0xFF:
        marker, (length,) = jpeg[at + 1], struct.unpack_from(">H", jpeg, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", jpeg, at + 5)
            return width, height
        at += 2 + length
    return None
