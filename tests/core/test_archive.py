"""The archive at a model's end, which `zipfile` must read and no other byte may be in."""

import io
import zipfile

import pytest

from pocketlens.archive import append_archive, has_trace_of

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 4
FILES = {"card.json": b'{"a": 1}\n', "labels.txt": "größer\n".encode(), "empty.txt": b""}


def test_zipfile_reads_it() -> None:
    data = append_archive(MODEL, FILES)
    assert data.startswith(MODEL)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_it_is_what_zipfile_writes() -> None:
    buffer = io.BytesIO(MODEL)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in FILES.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            archive.writestr(entry, content)
    assert append_archive(MODEL, FILES) == buffer.getvalue()


@pytest.mark.parametrize("end", [-1, -20, -150])
def test_trace_of_a_cut_archive(end: int) -> None:
    data = append_archive(MODEL, FILES)[:end]
    assert not zipfile.is_zipfile(io.BytesIO(data))
    assert has_trace_of(data, "card.json")


def test_no_trace() -> None:
    assert not has_trace_of(MODEL + b"card.json", "card.json")
    assert not has_trace_of(append_archive(MODEL, {"labels.txt": b"a\n"}), "card.json")
