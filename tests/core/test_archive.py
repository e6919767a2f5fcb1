"""The archive at a model's end, which `zipfile` must read and no other byte may be in."""

import io
import zipfile

import pytest

from pocketlens.archive import append_archive, has_trace_of, read_archive

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


@pytest.mark.parametrize("files", [FILES, {}, {"a": b"x" * 70_000}], ids=["some", "none", "large"])
def test_reading_what_was_written(files: dict[str, bytes]) -> None:
    found = read_archive(io.BytesIO(append_archive(MODEL, files)))
    assert found is not None
    assert found[0] == len(MODEL)
    assert list(found[1].items()) == list(files.items())


def test_nothing_but_what_was_written_is_read() -> None:
    data = append_archive(MODEL, FILES)
    for bit in range(8 * len(MODEL), 8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        assert read_archive(io.BytesIO(changed)) is None
    for size in range(len(data)):
        assert read_archive(io.BytesIO(data[:size])) is None
    assert read_archive(io.BytesIO(data + b" ")) is None
    assert read_archive(io.BytesIO(b" " + data)) is None
