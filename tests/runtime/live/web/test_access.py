"""Who is answered: addresses, hosts, tokens."""

import base64
import socket
import sys

import pytest

from pocketlens.errors import OutputError, UsageError
from pocketlens.runtime.live.web.access import (
    Access,
    WebAddress,
    check_token,
    listen,
    open_access,
    page_url,
    parse_address,
)

TOKEN = "correct-horse-battery"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", WebAddress("127.0.0.1", 8080)),
        ("0", WebAddress("127.0.0.1", 0)),
        ("65535", WebAddress("127.0.0.1", 65535)),
        ("0.0.0.0:80", WebAddress("0.0.0.0", 80)),
        ("[::1]:9000", WebAddress("::1", 9000)),
        ("barn-pi.local:8080", WebAddress("barn-pi.local", 8080)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "host", ":8080", "65536", "-1", "::1:80", "1:2:3", "http://x:80", "a b:80", "x.tflite"],
)
def test_what_is_no_address_is_one_sentence(text):
    with pytest.raises(UsageError, match=r"Expected --web as a port.*Received: "):
        parse_address(text)


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "ümlaut-token", "tab\ttoken"])
def test_tokens_that_cannot_be_are_refused_and_not_shown(token):
    with pytest.raises(UsageError, match="at least 8") as caught:
        check_token(token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("token", ["12345678", TOKEN])
def test_tokens_of_eight_characters_and_more_are_taken(token):
    assert check_token(token) == token


def open_at(host, token=None):
    listener = listen(WebAddress(host, 0))
    with listener:
        return open_access(WebAddress(host, 0), listener, token)


def test_this_machine_alone_needs_no_token():
    assert open_at("127.0.0.1").token is None
    assert open_at("localhost").token is None
    assert open_at("127.0.0.1", TOKEN).token == TOKEN


def test_any_other_address_gets_a_token_and_each_run_another():
    first, second = open_at("0.0.0.0"), open_at("0.0.0.0")
    assert first.token != second.token
    # 16 random bytes in base64.
    assert len(first.token) == 22
    assert open_at("0.0.0.0", TOKEN).token == TOKEN
    assert first.token not in repr(first)


LOCAL = ["localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:1", "127.0.0.9", "[::1]:8080"]
FOREIGN = [
    "",
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "localhost:8080:80",
    "::1",
    "[::1",
    "local host",
    "localhost/",
    "0x7f.1",
]


@pytest.mark.parametrize("header", LOCAL)
def test_local_hosts_are_answered(header):
    assert open_at("127.0.0.1").answers_host(header)
    assert open_at("0.0.0.0").answers_host(header)


@pytest.mark.parametrize("header", FOREIGN)
def test_foreign_hosts_are_not(header):
    assert not open_at("127.0.0.1").answers_host(header)
    assert not open_at("0.0.0.0").answers_host(header)


def test_a_page_for_others_is_answered_by_its_addresses_and_own_names():
    local, everywhere = open_at("127.0.0.1"), open_at("0.0.0.0")
    for header in ("192.168.1.20:8080", "[fe80::1]", socket.gethostname().upper() + ".local:80"):
        assert everywhere.answers_host(header)
        assert not local.answers_host(header)


def basic(password):
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


def access(token=TOKEN):
    return Access(token, frozenset({"localhost"}), False, "pocketlens-80")


def test_ways_to_bring_the_token():
    ours = access()
    assert ours.admits({"authorization": f"Bearer {TOKEN}"}, {})
    assert ours.admits({"authorization": f"bearer {TOKEN} "}, {})
    assert ours.admits({"authorization": basic(TOKEN)}, {})
    assert ours.admits({}, {"pocketlens-80": ours.cookie_value})
    assert access(None).admits({}, {})


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Digest {TOKEN}",
        basic(TOKEN).replace("Basic", "Digest"),
        basic(TOKEN).replace("Basic", "Negotiate"),
        TOKEN,
        basic(TOKEN[:-1]),
        basic(""),
        "Basic ???",
        "Basic /////w==",
        "Bearer \udcff",
    ],
)
def test_everything_else_is_no_token(header):
    assert not access().admits({"authorization": header}, {})


def test_a_cookie_of_another_token_or_the_token_itself_is_none():
    for value in ("", TOKEN, access("another-token").cookie_value):
        assert not access().admits({}, {"pocketlens-80": value})
    assert not access().admits({}, {"pocketlens-81": access().cookie_value})
    assert TOKEN not in access().cookie_value


def test_a_port_that_is_taken_is_one_sentence():
    with listen(WebAddress("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(OutputError, match=f"a free port at 127.0.0.1:{port}.*Choose another"):
            listen(WebAddress("127.0.0.1", port))


@pytest.mark.skipif(sys.platform != "linux", reason="what a socket says of this is Linux's")
def test_little_is_on_its_way_to_a_viewer_and_one_that_is_gone_is_given_up():
    with (
        listen(WebAddress("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as viewer,
    ):
        # Linux doubles what it is asked for, for its own needs.
        assert viewer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 128 * 1024
        assert viewer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid", "a..b"])
def test_an_address_of_another_machine_is_one_sentence(host):
    with pytest.raises(OutputError, match="Expected a free port at"):
        listen(WebAddress(host, 0))


def test_the_address_to_open_is_one_that_others_can_open():
    with listen(WebAddress("127.0.0.1", 0)) as local:
        assert page_url(local) == f"http://127.0.0.1:{local.getsockname()[1]}/"
    with listen(WebAddress("0.0.0.0", 0)) as everywhere:
        assert "//0.0.0.0" not in page_url(everywhere)


class Route:
    """A socket that tells by which address this machine is reached, or that there is no way out."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def connect(self, _):
        pass

    def getsockname(self):
        return "192.168.1.20", 40000


class NoRoute(Route):
    def connect(self, _):
        raise OSError("Network is unreachable")


@pytest.mark.parametrize(("route", "host"), [(Route, "192.168.1.20"), (NoRoute, "barn-pi")])
def test_it_is_that_of_the_way_outside_or_the_machine_s_name(route, host, monkeypatch):
    with listen(WebAddress("0.0.0.0", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", route)
            patch.setattr(socket, "gethostname", lambda: "barn-pi")
            assert page_url(everywhere) == f"http://{host}:{port}/"
