"""What MkDocs cannot do by itself: the packages' layout, the commands and the forms of JSON.

MkDocs calls the functions named `on_...` while it builds the site.
"""

from __future__ import annotations

import html
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pocketlens.cli.main import group
from pocketlens.cli.options import Option

ROOT = Path(__file__).parents[1]
API = ROOT / "build" / "api" / "pocketlens"
GOLDEN = ROOT / "tests" / "golden"
THIRD_PARTY = "Third-party model"
LONG = 30  # characters of a word in code


def on_startup(**_: Any) -> None:
    """Lay the folders out as packages: what reads the API follows names, not `package-dir`."""
    shutil.rmtree(API, ignore_errors=True)
    for path in ROOT.glob("*/__init__.py"):
        target = API if path.parent.name == "core" else API / path.parent.name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path.parent, target, ignore=ignored, dirs_exist_ok=True)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is generated, and leave out the words for the test behind a block's language."""
    markdown = re.sub(r"(?s)<!-- on GitHub -->.*?<!-- end -->\n", "", markdown)
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", "\n".join(_commands()))
    markdown = re.sub(r"<!-- form of (\w+) -->", _form, markdown)
    return re.sub(r"^```(\w+) .*$", r"```\1", markdown, flags=re.MULTILINE)


def on_page_content(content: str, **_: Any) -> str:
    """Say where a narrow page may break code within sentences, and not between number and %."""
    parts = r"(?s)<pre.*?</pre>|(?<=<code>)[^<]+(?=</code>)|(?<=\d) (?=%)"
    return re.sub(parts, _breaks, content)


def _breaks(found: re.Match[str]) -> str:
    """Let long words break behind `/` and `|`, longer ones at dots, none behind `-` or `…`."""
    if found[0].startswith("<"):
        return found[0]
    if found[0] == " ":
        return "&nbsp;"

    def mark(word: re.Match[str]) -> str:
        behind = "/|." if len(word[0]) > LONG else "/|" if len(word[0]) > LONG / 2 else ""
        parts = re.findall(rf"[^{behind}]*(?:[{behind}]+|$)", word[0]) if behind else [word[0]]
        whole = (
            f'<span class="whole">{part}</span>' if re.search("[-…]", part) else part
            for part in parts
        )
        return "<wbr>".join(part for part in whole if part)

    return re.sub(r"\S+", mark, found[0])


def _form(found: re.Match[str]) -> str:
    """Return the form of a command's JSON, with which the tests compare what it writes."""
    form = json.loads((GOLDEN / f"{found[1]}.json").read_text("utf-8"))["json"]
    return f"```json\n{json.dumps(form, indent=2)}\n```"


def _commands() -> Iterator[str]:
    """Describe every command from its own declaration, as Markdown."""
    leaves = list(_leaves(group, click.Context(group, info_name="pocketlens")))
    yield "| command | |\n|---|---|"
    for command, context in leaves:
        path = context.command_path
        short = _text(command.get_short_help_str(limit=200))
        yield f"| [`{path}`](#{path.replace(' ', '-')}) | {short} |"
    yield ""
    shared: dict[str, str] = {}
    for command, context in leaves:
        path = context.command_path
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        example = (command.epilog or "").removeprefix("Example: ")
        yield f"## {path}\n\n```text\n{usage}\n```\n\n{_text(command.help)}\n"
        yield f"For example:\n\n```text\n{' '.join(example.split())}\n```\n"
        groups: dict[str, dict[str, str]] = {}
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if isinstance(parameter, Option) and record:
                groups.setdefault(parameter.group, {})[record[0]] = record[1]
        for title, options in groups.items():
            yield f"**{title}**\n"
            if title == THIRD_PARTY:
                shared.update(options)
                names = ", ".join(f"`{option.split()[0]}`" for option in options)
                yield f"{names}: see [third-party models](#third-party-models).\n"
            else:
                yield from _list(options)
    yield "## Third-party models\n\nWhat a third-party file does not say of itself:\n"
    yield from _list(shared)


def _leaves(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    if not isinstance(command, click.Group):
        yield command, context
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None:
            yield from _leaves(inner, click.Context(inner, info_name=name, parent=context))


def _list(options: dict[str, str]) -> Iterator[str]:
    for names, text in options.items():
        yield f"`{names}`\n:   {_text(text)}\n"


def _text(text: str | None) -> str:
    """Return help text as Markdown: options in code, no characters that mean something there."""
    escaped = re.sub(r"([*_\[\]])", r"\\\1", html.escape(inspect.cleandoc(text or ""), quote=False))
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)(?![\w-])", r"`\1`", escaped)
