"""The child process behind puppet.output.preview: raw pictures in, keys out.

`python -m puppet.output.window WIDTH HEIGHT`. Standard input: RGB pictures of WIDTH x HEIGHT x 3
bytes, one after another; its end closes the window. Standard output: `ready`, then `key X` lines.
"""

from __future__ import annotations

import sys
import threading

import cv2
import numpy as np

from puppet.contract import Rgb
from puppet.flow import Closed, LatestSlot

_TITLE = "webcam-puppet"


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def _read(width: int, height: int, slot: LatestSlot[Rgb]) -> None:
    size = width * height * 3
    while True:
        data = sys.stdin.buffer.read(size)
        if len(data) < size:
            slot.close()
            return
        slot.put(np.frombuffer(data, np.uint8).reshape(height, width, 3))


def main(width: int, height: int) -> int:
    """Shows pictures until the input ends or the window is closed."""
    try:
        # GUI_NORMAL: without the row of image tools that Qt would put above the picture.
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(_TITLE, width, height)
        cv2.imshow(_TITLE, np.zeros((height, width, 3), np.uint8))
        cv2.waitKey(1)
    except cv2.error as error:
        sys.stderr.write(f"this OpenCV cannot open windows: {str(error).splitlines()[0]}\n")
        return 1
    _say("ready")
    slot: LatestSlot[Rgb] = LatestSlot()
    threading.Thread(target=_read, args=(width, height, slot), daemon=True).start()
    while True:
        try:
            cv2.imshow(_TITLE, cv2.cvtColor(slot.get(0.02), cv2.COLOR_RGB2BGR))
        except TimeoutError:
            pass  # no picture now: keys and the window still need attention
        except Closed:
            return 0
        key = cv2.waitKey(1)
        if key >= 0 and chr(key & 0xFF).isprintable():
            _say(f"key {chr(key & 0xFF)}")
        if cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            _say("key q")
            return 0


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
    except BrokenPipeError:
        sys.exit(0)
