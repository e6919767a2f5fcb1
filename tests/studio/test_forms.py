"""Fields made of the commands' own options, and the words that filled ones mean."""

import click
import pytest
from click.testing import CliRunner

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from studio_project import COMMANDS

from pocketlens.errors import UsageError
from pocketlens.studio.forms import CHOICE, FLAG, MANY, NUMBER, TEXT, form_fields, shell_line


def fields_of(command, settings=None, **options):
    found = form_fields(COMMANDS[command], settings or {}, **options)
    return {field.name: field for field in found}


def as_shown(fields):
    """What a browser sends of a form that nobody has touched."""
    values = {}
    for field in fields.values():
        if field.kind == MANY:
            values.update({f"{field.name}.{name}": "on" for name in field.default.split()})
        elif field.kind != FLAG or field.default:
            values[field.name] = field.default
    return values


def words(fields, **values):
    sent = as_shown(fields) | {name.replace("_", "-"): value for name, value in values.items()}
    return [word for field in fields.values() for word in field.arguments(sent)]


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_texts_and_groups_are_those_of_the_command_line(command):
    text = " ".join(CliRunner().invoke(COMMANDS[command], ["--help"]).output.split())
    for field in fields_of(command).values():
        assert f"--{field.name}" in text
        # Lines of --help break at dashes, too.
        assert field.help.replace(" ", "") in text.replace(" ", "")
        assert f"{field.group}:" in text


def test_a_form_as_it_is_shown_means_the_command_alone():
    for command in COMMANDS:
        assert words(fields_of(command)) == []


def test_kinds_and_defaults_follow_from_the_options():
    train, convert = fields_of("train"), fields_of("convert")
    kinds = {name: train[name].kind for name in ("arch", "alpha", "no-flip", "weights")}
    assert kinds == {"arch": CHOICE, "alpha": NUMBER, "no-flip": FLAG, "weights": TEXT}
    assert (train["arch"].default, train["alpha"].default) == ("mobilenet_v2", "1")
    assert train["image-size"].hint == "the architecture's published size"
    assert "[default" not in train["image-size"].help
    assert (train["mixed-precision"].kind, train["mixed-precision"].choices) == (
        CHOICE,
        ("yes", "no"),
    )
    assert (convert["format"].kind, convert["format"].hint) == (MANY, "all five")


def test_what_prints_or_is_the_page_s_to_give_is_left_out():
    assert not {"list-architectures", "out", "json", "project"} & set(fields_of("train"))
    assert "report" not in fields_of("check")
    assert "seed" not in fields_of("train", without=("seed",))


def test_what_is_changed_becomes_words():
    train = fields_of("train")
    assert words(train, arch="cnn_small", batch_size=" 16 ", no_flip="on") == [
        *("--no-flip", "--arch", "cnn_small", "--batch-size", "16"),
    ]
    assert words(train, mixed_precision="no") == ["--no-mixed-precision"]
    # An empty field is the command's own default, and a dash begins no option.
    assert words(train, batch_size="") == ["--batch-size", "32"]
    assert words(train, weights="-x") == ["--weights=-x"]
    convert = fields_of("convert")
    assert words(convert, **{"format.int8": "on", "format.float16": "on"}) == [
        *("--format", "float16", "--format", "int8"),
    ]


def test_what_the_project_says_fills_the_form_and_is_written_out():
    train = fields_of("train", {"arch": "cnn_small", "batch-size": 16, "no-flip": True})
    assert train["arch"].default == "cnn_small"
    said = ["--no-flip", "--arch", "cnn_small", "--batch-size", "16"]
    assert words(train) == said
    # The command's own default has to be said then, too.
    assert words(train, arch="mobilenet_v2")[1:3] == ["--arch", "mobilenet_v2"]
    convert = fields_of("convert", {"format": ["int8", "float16"]})
    assert words(convert) == ["--format", "float16", "--format", "int8"]


def test_what_no_word_undoes_is_said():
    train = fields_of("train", {"no-flip": True, "image-size": 96})
    values = as_shown(train)
    del values["no-flip"]
    with pytest.raises(UsageError, match=r"--no-flip, since the project's file sets it to on"):
        train["no-flip"].arguments(values)
    with pytest.raises(UsageError, match=r"--image-size, since .* 96\. Received: none"):
        train["image-size"].arguments({"image-size": ""})


def test_what_is_no_choice_is_refused():
    with pytest.raises(UsageError, match=r"--arch as one of .* Received: a\\nb"):
        fields_of("train")["arch"].arguments({"arch": "a\nb"})


def test_every_word_of_a_line_is_one_in_a_shell():
    assert shell_line(["train", "my photos", "--weights", "a;b'c"]) == (
        """pocketlens train 'my photos' --weights 'a;b'"'"'c'"""
    )


def test_options_of_any_command_become_fields():
    @click.command()
    @click.option("--secret", hidden=True)
    @click.option("--size", type=click.IntRange(1), help="Size.  [default: as it is]")
    @click.option("--shared/--alone", default=True)
    def command(**_):
        pass

    found = {field.name: field for field in form_fields(command, {})}
    assert list(found) == ["size", "shared"]
    assert (found["size"].help, found["size"].hint) == ("Size.", "as it is")
    assert found["shared"].default == "yes"
    assert found["shared"].arguments({"shared": "no"}) == ["--alone"]
    assert form_fields(command, {"shared": False})[1].arguments({"shared": "no"}) == ["--alone"]
