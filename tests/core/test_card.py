"""The card and the archive at the end of a model file."""

import dataclasses
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.archive import append_archive
from pocketlens.card import (
    CARD_NAME,
    DEFAULT_THRESHOLDS,
    LABELS_NAME,
    ModelCard,
    pack,
    parse_labels,
    unpack,
)
from pocketlens.errors import ModelFileError

CARD = ModelCard("flowers", ("rose", 'größer, "quoted" 🌷'), (224, 192), resize_mode="crop")
SHIFT = {"photos": 152, "values": {"brightness": [3.5, 3.5, 4], "surprise": [-27.631]}}
MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 4


def test_card_survives_json() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD
    # Older versions read it.
    assert json.loads(CARD.to_json())["schema_version"] == 1
    # A score of float32, to the last bit.
    card = dataclasses.replace(CARD, sets={"0.8": 0.9826292991638184, "0.95": 1e-9, "0.99": 0.0})
    assert ModelCard.from_json(card.to_json()) == card
    card = dataclasses.replace(CARD, shift=SHIFT)
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize("field", ["sets", "shift"])
def test_card_of_an_earlier_version_has_less(field: str) -> None:
    values = dataclasses.asdict(CARD)
    del values[field]
    assert ModelCard.from_json(json.dumps(values)) == CARD


@given(labels=st.lists(st.text(min_size=1), min_size=1, max_size=20), name=st.text())
def test_any_labels_survive_packing(labels: list[str], name: str) -> None:
    card = ModelCard(name, tuple(labels), (1, 2))
    unpacked = unpack(pack(MODEL, card))
    assert unpacked.flatbuffer == MODEL
    assert unpacked.card is not None
    assert unpacked.card.labels == tuple(labels)
    assert unpacked.card.name == name


def test_packed_file_is_a_zip_with_labels() -> None:
    with zipfile.ZipFile(io.BytesIO(pack(MODEL, CARD))) as archive:
        assert archive.namelist() == [CARD_NAME, LABELS_NAME]
        assert archive.read(LABELS_NAME).decode() == "".join(f"{x}\n" for x in CARD.labels)


def test_a_binary_model_has_one_label_for_its_one_score() -> None:
    card = dataclasses.replace(CARD, task="binary", threshold=0.5)
    unpacked = unpack(pack(MODEL, card))
    assert unpacked.labels == CARD.labels[1:]
    assert unpacked.card is not None
    assert unpacked.card.labels == CARD.labels


def test_packing_twice_gives_the_same_bytes() -> None:
    assert pack(MODEL, CARD) == pack(MODEL, CARD)


@pytest.mark.parametrize("bit", range(8))
def test_changed_model_is_refused(bit: int) -> None:
    """Whether its digest is above the one in the card or below."""
    data = bytearray(pack(MODEL, CARD))
    data[100] ^= 1 << bit
    with pytest.raises(ModelFileError, match="SHA-256"):
        unpack(bytes(data))


def test_every_bit_of_the_archive_is_sealed() -> None:
    data = pack(MODEL, CARD)
    for bit in range(8 * len(MODEL), 8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(ModelFileError, match="Received"):
            unpack(bytes(changed))


def test_every_cut_in_the_archive_is_noticed() -> None:
    data = pack(MODEL, CARD)
    # A cut in the first 39 bytes leaves no name: `read_model_file` misses the labels then.
    for size in range(len(MODEL) + 39, len(data)):
        with pytest.raises(ModelFileError, match="cut off or changed"):
            unpack(data[:size])


@pytest.mark.parametrize("name", ["labels.txt", "card.json", "more.txt"])
def test_archive_that_was_written_again(name: str) -> None:
    """Other labels, another card or another file, all by the rules of zip, break the seal."""
    data = pack(MODEL, CARD)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    files[name] = files.get(name, b"") + b" "
    with pytest.raises(ModelFileError, match="changed afterwards"):
        unpack(append_archive(MODEL, dict(reversed(files.items()))))


def test_card_of_a_newer_version_is_sealed_too() -> None:
    data = pack(MODEL, CARD)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files[CARD_NAME] = json.dumps({**json.loads(files[CARD_NAME]), "colour": "green"}).encode()
    assert unpack(append_archive(MODEL, files)).card is not None


def test_texts_may_be_as_large_as_is_allowed_together() -> None:
    labels = b"rose\ntulip\n"
    for more, refused in ((0, False), (1, True)):
        buffer = io.BytesIO(MODEL)
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("labels.txt", labels)
            archive.writestr("LICENSE", bytes((16 << 20) - len(labels) + more))
        if refused:
            with pytest.raises(ModelFileError, match="more than 16 MB"):
                unpack(buffer.getvalue())
        else:
            assert unpack(buffer.getvalue()).labels == ("rose", "tulip")


def test_bomb_of_labels() -> None:
    buffer = io.BytesIO(MODEL)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", bytes(20 << 20))
    with pytest.raises(ModelFileError, match="more than 16 MB"):
        unpack(buffer.getvalue())


def test_file_without_card() -> None:
    unpacked = unpack(MODEL)
    assert (unpacked.flatbuffer, unpacked.card, unpacked.labels) == (MODEL, None, None)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ({"labels.txt": "cat\ndog\n"}, ("cat", "dog")),
        ({"labels.json": '["cat", "dog"]', "config.json": "{}"}, ("cat", "dog")),
        ({"classes.txt": "cat\ndog\n", "config.json": "{}", "LICENSE": "MIT"}, ("cat", "dog")),
        ({"class_names.txt": "cat\ndog\n", "README.txt": "Read me"}, ("cat", "dog")),
        ({"LICENSE": "MIT"}, None),
        ({"config.json": "{}"}, None),
    ],
    ids=str,
)
def test_labels_of_a_file_from_elsewhere(
    texts: dict[str, str], labels: tuple[str, ...] | None
) -> None:
    buffer = io.BytesIO(MODEL)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    assert unpack(buffer.getvalue()).labels == labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0 rose\n1 tulip\n", ("rose", "tulip")),
        ("1: rose\n2: tulip\n", ("rose", "tulip")),
        ("1 rose\n2 tulip\n3 lily\n", ("rose", "tulip", "lily")),
        # Cut out of a longer list, or names that begin with a number.
        ("2 rose\n3 tulip\n", ("2 rose", "3 tulip")),
        ("0 rose\n2 tulip\n", ("0 rose", "2 tulip")),
        ("1 rose\n0 tulip\n", ("1 rose", "0 tulip")),
        ("0 rose\ntulip\n", ("0 rose", "tulip")),
        ("rose\n1 tulip\n", ("rose", "1 tulip")),
        ("0 rose\n1 rose\n", ("0 rose", "1 rose")),
        ("0 rose\n", ("0 rose",)),
        ("\n rose \n\ntulip", ("rose", "tulip")),
        ("", ()),
    ],
)
def test_labels_of_a_text(text: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(text) == labels


def test_scores_below_a_half_are_no_answer_where_each_label_stands_alone() -> None:
    assert DEFAULT_THRESHOLDS == {"multiclass": 0.0, "binary": 0.5, "multilabel": 0.5}


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []},
        {"labels": [1, 2]},
        {"input_size_wh": [0, 224]},
        {"input_size_wh": [224]},
        {"task": "guess"},
        {"resize_mode": "bend"},
        {"schema_version": 99},
        {"schema_version": None},
        {"threshold": 1.5},
        {"threshold": -0.5},
        {"threshold": None},
        {"task": "binary", "labels": ["a", "b", "c"]},
        {"sets": [0.9]},
        {"sets": {"0.9": 1.5}},
        {"sets": {"0.9": "0.5"}},
        {"sets": {"0.9": None}},
        {"shift": []},
        {"shift": {"photos": 10}},
        {"shift": {"photos": 10, "values": {}}},
        {"shift": {"photos": 10, "values": {"colour": []}}},
        {"shift": {"photos": 10, "values": {"colour": 1.0}}},
        {"shift": {"photos": 10, "values": {"colour": [1.0, "2"]}}},
        {"shift": {"photos": 10, "values": {"colour": [1.0, True]}}},
        {"shift": {"photos": 10, "values": {"colour": [2.0, 1.0]}}},
        {"shift": {"photos": 10, "values": {"colour": [1.0, float("nan")]}}},
        {"shift": {"photos": 10, "values": {"colour": [1.0, float("inf")]}}},
        {"shift": {"photos": 10, "values": {"colour": [1.0, 10**400]}}},
        {"shift": {"photos": 10, "values": {"colour": [1.0] * 1001}}},
        {"shift": {"photos": 0, "values": {"colour": [1.0]}}},
        {"shift": {"photos": 9.5, "values": {"colour": [1.0]}}},
        {"shift": {"photos": 10**400, "values": {"colour": [1.0]}}},
        {"shift": {"photos": True, "values": {"colour": [1.0]}}},
    ],
    ids=lambda change: str(change)[:80],
)
def test_bad_card_is_refused(change: dict[str, object]) -> None:
    values = dataclasses.asdict(CARD) | change
    with pytest.raises(ModelFileError, match="Received"):
        ModelCard.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "no json"])
def test_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelFileError, match="Expected a pocketlens model card"):
        ModelCard.from_json(text)


def test_field_of_a_later_version_is_left_out() -> None:
    values = dataclasses.asdict(CARD) | {"colour": "green"}
    assert ModelCard.from_json(json.dumps(values)) == CARD


def with_files(entries: dict[str, bytes]) -> bytes:
    held = io.BytesIO(b"MODEL")
    with zipfile.ZipFile(held, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return held.getvalue()


def lying(content: bytes, said_bytes: int) -> bytes:
    """Return a model whose labels say that they have another size."""
    data = bytearray(with_files({"labels.txt": content}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = said_bytes.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: lying(bytes(300 << 20), 100), "CRC|size"),
        (lambda: with_files({"labels.txt": bytes(17 << 20)}), "16 MB"),
        (lambda: with_files({f"{n}": b"" for n in range(5000)}), "5000 files"),
        (lambda: with_files({"labels.txt": b"x" * (5 << 20)}), "5242880"),
        (lambda: append_archive(b"MODEL", {CARD_NAME: b"[" * 200_000}), "Received"),
    ],
    ids=["lying size", "large text", "many files", "long label", "deep card"],
)
def test_archives_that_cost_more_than_they_say(make: Callable[[], bytes], reason: str) -> None:
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=reason):
            unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_only_text_is_read_from_an_archive() -> None:
    texts = {"labels.txt": b"rose\n", "LICENSE": b"MIT", "model.json": b"{}"}
    assert unpack(with_files({"a.bin": b"\xff", **texts, "z.bin": b"\xff"})).texts == texts


def test_labels_that_are_no_text_are_refused_by_name() -> None:
    with pytest.raises(ModelFileError, match=r"UTF-8 in labels\.txt"):
        unpack(with_files({"labels.txt": b"r\xf6schen"}))


def test_labels_as_long_as_a_book() -> None:
    with pytest.raises(ModelFileError, match="at most 1000 characters"):
        ModelCard("m", ("a", "b" * 1001), (8, 8))
