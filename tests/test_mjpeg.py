"""The page on loopback: for its own viewers only, and stalled by none."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from puppet.contract import (
    Picture,
    SinkError,
)
from puppet.output.mjpeg import MjpegSink
from tests.outputs import FPS, HEIGHT, WIDTH, index_of, picture

# --- page ---------------------------------------------------------------------------------------


@pytest.fixture
def page() -> Iterator[MjpegSink]:
    sink = MjpegSink(0)
    sink.open(WIDTH, HEIGHT, FPS)
    yield sink
    sink.close()


def get(sink: MjpegSink, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{sink.url}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_and_the_newest_picture(page: MjpegSink) -> None:
    assert b"/stream.mjpg" in get(page, "")[1]
    for index in (1, 30):
        page.send(picture(index))
        status, jpeg = get(page, "picture.jpg")
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert status == 200
        assert index_of(bgr[..., ::-1]) == index
    assert get(page, "other")[0] == 404


def test_the_stream_is_parts_of_jpeg(page: MjpegSink) -> None:
    seen: list[int] = []
    done = threading.Event()

    def feed() -> None:
        for index in range(40):
            page.send(picture(index))
            if done.wait(0.02):
                return

    feeder = threading.Thread(target=feed)
    feeder.start()
    with urllib.request.urlopen(f"{page.url}stream.mjpg", timeout=10) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        for _ in range(5):
            assert stream.readline().startswith(b"--picture")
            stream.readline()
            length = int(stream.readline().split(b":")[1])
            stream.readline()
            bgr = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)
            seen.append(index_of(bgr[..., ::-1]))
            stream.readline()
    done.set()
    feeder.join()
    assert seen == sorted(set(seen))


def test_only_loopback_and_only_own_pages(page: MjpegSink) -> None:
    page.send(picture(0))
    port = int(page.url.rsplit(":", 1)[1].strip("/"))  # type: ignore[union-attr]
    assert get(page, "", Host="evil.example")[0] == 403
    assert get(page, "picture.jpg", Host=f"evil.example:{port}")[0] == 403
    assert get(page, "stream.mjpg", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert get(page, "picture.jpg", Host=f"localhost:{port}")[0] == 200
    assert page._server is not None
    assert page._server.server_address[0] == "127.0.0.1"


def test_a_stalled_viewer_stalls_nobody_and_viewers_are_bounded(page: MjpegSink) -> None:
    port = int(page.url.rsplit(":", 1)[1].strip("/"))  # type: ignore[union-attr]
    page.send(picture(0))
    ask = f"GET /stream.mjpg HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for connection in stalled:
        connection.sendall(ask)
        assert connection.recv(12) == b"HTTP/1.0 200"  # and then never reads again
    assert get(page, "picture.jpg")[0] == 503
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
    sending = threading.Thread(
        target=lambda: [page.send(Picture(noise, 0, i)) for i in range(200)], daemon=True
    )
    sending.start()
    sending.join(5.0)
    assert not sending.is_alive()
    closing = threading.Thread(target=page.close, daemon=True)
    closing.start()
    closing.join(5.0)
    assert not closing.is_alive()
    for connection in stalled:
        connection.close()


def test_a_taken_port_names_the_option(page: MjpegSink) -> None:
    port = int(page.url.rsplit(":", 1)[1].strip("/"))  # type: ignore[union-attr]
    with pytest.raises(SinkError, match=rf"port {port} is taken.*--sink mjpeg:{port + 1}"):
        MjpegSink(port).open(WIDTH, HEIGHT, FPS)
