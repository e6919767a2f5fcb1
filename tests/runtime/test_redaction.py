"""No password in anything that is shown."""

import pytest

from pocketlens.errors import SourceError
from pocketlens.runtime.live.sources import SourceRequest, open_source, redact

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:hunter2@camera/live", "rtsp://***@camera/live"),
        ("rtsp://hunter2@camera/live", "rtsp://***@camera/live"),
        ("http://me:p@ss:hunter2@camera:81/a?b=1", "http://***@camera:81/a?b=1"),
        ("http://me:hun/ter2@camera/", "http://***@camera/"),
        ("rtsp:/me:hunter2@camera/", "rtsp:/***@camera/"),
        ("HTTP://me:hunter2@camera/", "HTTP://***@camera/"),
        ("me:hunter2@camera/live", "***@camera/live"),
        ("http://camera/?user=me&pwd=hunter2&x=1#a", "http://camera/?user=***&pwd=***&x=1#a"),
        ("http://camera/?loginpas=hunter2", "http://camera/?loginpas=***"),
        ("http://camera/?access_token=hunter2;x=1", "http://camera/?access_token=***;x=1"),
        ("cannot open 'rtsp://me:hunter2@camera', again", "cannot open 'rtsp://***@camera', again"),
        ("http://camera/stream.mjpg?size=640", "http://camera/stream.mjpg?size=640"),
        ("Received: garden.mp4 (nothing there).", "Received: garden.mp4 (nothing there)."),
        ("/dev/v4l/by-id/usb-046d_C920-index0", "/dev/v4l/by-id/usb-046d_C920-index0"),
    ],
)
def test_redaction(text, shown):
    assert redact(text) == shown


def test_a_request_does_not_show_its_password():
    request = SourceRequest(f"rtsp://me:{SECRET}@camera/live")
    assert SECRET not in repr(request)
    assert SECRET not in str(request)
    assert request.name == "rtsp://***@camera/live"


@pytest.mark.parametrize(
    "address",
    [
        f"http://me:{SECRET}@127.0.0.1:9/x",
        f"http://me:{SECRET}@127.0.0.1:port/x",
        f"http://me:{SECRET}@[::1/x",
        f"http://127.0.0.1:9/x?password={SECRET}",
        f"rtsp://me:{SECRET}@127.0.0.1:9/x",
        f"rtmp://me:{SECRET}@127.0.0.1:9/x",
        f"http://me:a b{SECRET}@127.0.0.1:9/x",
        f"rtsp:/me:{SECRET}@127.0.0.1/x",
        f"me:{SECRET}@127.0.0.1/x",
        f"me:{SECRET}@127.0.0.1/*.jpg",
        f"/dev/me:{SECRET}@video9",
    ],
)
def test_no_error_shows_a_password(address, caplog, capfd):
    caplog.set_level("DEBUG", "pocketlens")
    with pytest.raises(SourceError, match="Received") as caught:
        open_source(SourceRequest(address))
    shown = [str(caught.value), caplog.text, *capfd.readouterr()]
    assert not [text for text in shown if SECRET in text]
