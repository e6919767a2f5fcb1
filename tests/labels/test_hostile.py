"""Files of labels that were made to do harm, or are damaged: a sentence, and nothing is written."""

import contextlib
import json
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketlens.errors import PocketlensError
from pocketlens.labels import import_labels
from pocketlens.labels.items import MOST_JSON_BYTES

FILES = Path(__file__).parent / "files"
BOMB = "<!DOCTYPE a [<!ENTITY a 'lol'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
IMAGE = '<image id="0" name="a.jpg"><tag label="{}"/></image>'
XML = {
    "billion laughs": f"{BOMB}]><annotations>{IMAGE.format('&i;')}</annotations>",
    "file by an entity": "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    f"<annotations>{IMAGE.format('x')}&x;</annotations>",
    "definition elsewhere": "<!DOCTYPE a SYSTEM 'http://host/a.dtd'>"
    f"<annotations>{IMAGE.format('x')}</annotations>",
    "parameter entity": "<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://host/a'> %x;]><annotations/>",
    "other XML": "<html/>",
    "cut off": f"<annotations>{IMAGE.format('x')}",
    "without a name": '<annotations><image id="0"/></annotations>',
    "without a label": '<annotations><image name="a.jpg"><tag/></image></annotations>',
    "deep": "<annotations>" + "<a>" * 100_000,
    "no XML": "\0\1\2",
    "an entity that is not declared": "<annotations>&x;</annotations>",
}
JSON = {
    "deep list": "[" * 100_000,
    "deep object": '{"labels":' * 100_000,
    "no tasks": "[1, 2]",
    "no data": '[{"x": 1}]',
    "annotations that are no list": '[{"data": {"image": "a.jpg"}, "annotations": {"a": 1}}]',
    "results that are no objects": '[{"data": {"image": "a"}, "annotations": [{"result": [1]}]}]',
    "no picture": '[{"data": {"text": "x"}, "annotations": []}]',
    "two pictures": '[{"data": {"x": "a.jpg", "y": "b.jpg"}, "annotations": []}]',
    "the same name twice": '{"classes": null, "labels": {"a": "rose", "a": "daisy"}}',
    "a number that is no class": '{"classes": ["rose"], "labels": {"a": 7}}',
    "a number below none": '{"classes": ["rose"], "labels": {"a": -1}}',
    "a label that is a list of lists": '{"classes": ["rose"], "labels": {"a": [["x"]]}}',
    "classes that are no texts": '{"classes": [{}], "labels": {"a": 0}}',
    "samples without a path": '{"samples": [{"x": 1}]}',
    "samples that are no objects": '{"samples": [7]}',
    "a huge number": '{"classes": null, "labels": {"a": ' + "9" * 5000 + "}}",
    "nothing": "{}",
    "cut off": '[{"data": {"image": "a.jp',
    "no UTF-8": "\udcff",
    "a long label": json.dumps({"classes": None, "labels": {"a": "x" * 100_000}}),
    "an empty label": '{"classes": null, "labels": {"a": " "}}',
    "a label that is only a byte order mark": '{"classes": null, "labels": {"a": "\\ufeff"}}',
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"photo")
    return tmp_path / "photos"


def refused(file: Path, photos: Path) -> str:
    into = photos.parent / "into"
    with pytest.raises(PocketlensError) as error:
        import_labels(file, photos=[photos], into=into)
    assert not into.exists()
    return str(error.value)


@pytest.mark.parametrize("name", XML)
def test_xml(name: str, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.xml"
    file.write_text(XML[name], "utf-8")
    said = refused(file, photos)
    if "<!DOCTYPE" in XML[name]:
        assert "a document type" in said
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("annotations.xml", XML[name])
    refused(tmp_path / "x.zip", photos)


@pytest.mark.parametrize("name", JSON)
def test_json(name: str, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(JSON[name], "utf-8", "surrogateescape")
    assert refused(file, photos).startswith("Expected")


def test_a_huge_file_is_not_read(photos: Path, tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as stream:
        stream.write(b"[")
        stream.truncate(MOST_JSON_BYTES + 1)
    assert "256 MB" in refused(tmp_path / "x.json", photos)


@pytest.mark.parametrize(
    "name", ["../../up.jpg", "/etc/hostname.jpg", "..\\..\\up.jpg", "C:/up.jpg"]
)
def test_names_lead_nowhere(name: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "up.jpg").write_bytes(b"not yours")
    data = tmp_path / "a" / "b"
    data.mkdir(parents=True)
    (data / "labels.json").write_text(json.dumps({"classes": None, "labels": {"x": "rose"}}))
    (data / "data.json").write_text(json.dumps({"x": name}))
    refused(data, photos)
    (data / "samples.json").write_text(
        json.dumps(
            {"samples": [{"filepath": name, "l": {"_cls": "Classification", "label": "rose"}}]}
        )
    )
    refused(data / "samples.json", photos)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("annotations.xml", f"<annotations>{IMAGE.format('rose')}</annotations>")
        archive.writestr(name, b"from the archive")
        archive.writestr(f"images/{name}", b"from the archive")
    import_labels(tmp_path / "x.zip", photos=[photos], into=tmp_path / "into")
    # Only the photo of the folder, and nothing beside the target.
    assert [path.read_bytes() for path in (tmp_path / "into").rglob("*.jpg")] == [b"photo"]
    assert (tmp_path / "up.jpg").read_bytes() == b"not yours"


def test_names_in_an_archive_are_only_names(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        image = IMAGE.format("rose").replace("a.jpg", "../../up.jpg")
        archive.writestr("annotations.xml", f"<annotations>{image}</annotations>")
        archive.writestr("images/../../up.jpg", b"from the archive")
    assert "none for ../../up.jpg" in refused(tmp_path / "x.zip", photos)
    assert not (tmp_path / "up.jpg").exists()


def test_an_archive_that_unpacks_to_too_much(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", f"<annotations>{IMAGE.format('rose')}</annotations>")
        archive.writestr("images/a.jpg", b"\0" * 1000)
    data = bytearray(file.read_bytes())
    # The directory says that the picture unpacks to 4 GB.
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
    file.write_bytes(data)
    assert "unpacks to 4096 MB" in refused(file, photos)


def test_a_damaged_archive(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("annotations.xml", f"<annotations>{IMAGE.format('rose')}</annotations>")
        archive.writestr("images/a.jpg", b"from the archive")
    file.write_bytes(file.read_bytes().replace(b"from the", b"FROM THE"))
    (photos / "a.jpg").unlink()
    with pytest.raises(PocketlensError, match=r"Cannot read images/a\.jpg"):
        import_labels(file, photos=[photos], into=tmp_path / "into")
    assert not list((tmp_path / "into").rglob("*.*"))


@pytest.mark.parametrize(
    "file", sorted(path for path in FILES.rglob("*.*") if path.suffix != ".md")
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_ends_in_a_sentence_or_in_labels(file: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "repeat"]))
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 50))]
        else:
            content[at:at] = content[at : at + data.draw(st.integers(1, 50))]
        if not content:
            content = bytearray(b"x")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        damaged = folder / f"x{file.suffix}"
        damaged.write_bytes(content)
        with contextlib.suppress(PocketlensError):
            import_labels(
                damaged,
                photos=[folder / "photos"],
                out=folder / "x.jsonl",
                skip_missing=True,
                empty=True,
            )
