"""Forms for commands: fields made of click's own options, and the words that a filled one means."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from pocketlens.errors import UsageError
from pocketlens.names import shown

TEXT, NUMBER, CHOICE, FLAG, MANY = KINDS = ("text", "number", "choice", "flag", "many")
"""Of a field: one of `choices` is a choice, any number of them are many; a flag is on or off."""

ON = "on"
"""What a browser sends of a checkbox that is checked."""

PROJECT_OPTION = "project"
"""The option that says which project is meant; a page has one."""

_DEFAULT = re.compile(r"\s*\[default: (.*)\]\s*$", re.DOTALL)
_YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Field:
    """An option as a form shows it.

    Attributes:
        name: the option without its dashes.
        kind: one of `KINDS`.
        group: the heading that `--help` has it under.
        help: the option's own help text, without its default.
        hint: what the command takes where the field stays empty, in words; "" where it is filled.
        default: what it begins with; of many the names, with spaces between them; ON of a flag.
        choices: what can be chosen.
        metavar: what `--help` calls the value.
        own_default: what the command takes without a project's settings, in the same form.
        words: what is written for it: the option, and for a flag with two forms both.
    """

    name: str
    kind: str
    group: str
    help: str
    hint: str
    default: str
    choices: tuple[str, ...]
    metavar: str
    own_default: str
    words: tuple[str, ...]

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """Return the words of the command line that a filled field means; none for its own default.

        Args:
            values: of the form. Of many choices each is a checkbox `NAME.CHOICE`.

        Raises:
            UsageError: the value is none of the choices, or what the project sets cannot be undone
                by a word.
        """
        value = self._value(values)
        # What the project sets is written out, too: the line says all that it does.
        if value == self.default == self.own_default:
            return []
        option = self.words[0]
        if self.kind == FLAG:
            return [option] if value else self._refuse_undoing()
        if self.kind == MANY and value:
            return [word for choice in value.split() for word in (option, choice)]
        if not value:
            if not self.own_default:
                return self._refuse_undoing()
            value = self.own_default
        if len(self.words) > 1:
            return [self.words[_YES_NO.index(value)]]
        # What begins with a dash would be the next option.
        return [f"{option}={value}"] if value.startswith("-") else [option, value]

    def _value(self, values: Mapping[str, str]) -> str:
        if self.kind == MANY:
            return " ".join(name for name in self.choices if f"{self.name}.{name}" in values)
        if self.kind == FLAG:
            return ON if self.name in values else ""
        # What a form does not have stays as it is.
        value = values.get(self.name, self.default).strip()
        if self.kind == CHOICE and value not in ("", *self.choices):
            raise UsageError(
                f"Expected --{self.name} as one of {', '.join(self.choices)}. "
                f"Received: {shown(value)}. Choose one."
            )
        return value

    def _refuse_undoing(self) -> list[str]:
        raise UsageError(
            f"Expected a value for --{self.name}, since the project's file sets it to "
            f"{shown(self.default)}. Received: none. Give one, or change pocketlens.toml."
        )


def form_fields(
    command: click.Command, settings: Mapping[str, Any], *, without: Collection[str] = ()
) -> list[Field]:
    """Return the options of a command as fields, in the order in which `--help` has them.

    Options that only print something, files to write and the project itself are left out.

    Args:
        command: the command.
        settings: what the project says, by the options' names.
        without: names of options that the page gives by itself.
    """
    found = []
    with click.Context(command, resilient_parsing=True) as context:
        for option in command.params:
            if not isinstance(option, click.Option) or option.hidden or option.is_eager:
                continue
            name = option.opts[0].lstrip("-")
            writes = isinstance(option.type, click.Path) and not option.type.exists
            if name in (*without, PROJECT_OPTION) or (writes and _is_output(option)):
                continue
            found.append(_field(name, option, context, settings.get(name)))
    return found


def shell_line(words: Sequence[str]) -> str:
    """Return `pocketlens` with these words as a line to copy into a shell."""
    return shlex.join(["pocketlens", *words])


def _is_output(option: click.Option) -> bool:
    return getattr(option, "group", "Output") == "Output"


def _field(name: str, option: click.Option, context: click.Context, setting: Any) -> Field:
    kind = TEXT
    choices: tuple[str, ...] = ()
    if option.is_flag and option.secondary_opts:
        kind, choices = CHOICE, _YES_NO
    elif option.is_flag:
        kind = FLAG
    elif isinstance(option.type, click.Choice):
        kind = MANY if option.multiple else CHOICE
        choices = tuple(map(str, option.type.choices))
    elif isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
        kind = NUMBER
    own_default = _text(option.get_default(context), kind)
    default = own_default if setting is None else _text(setting, kind)
    text = option.help or ""
    told = _DEFAULT.search(text)
    return Field(
        name,
        kind,
        getattr(option, "group", "Output"),
        _DEFAULT.sub("", text),
        told[1] if told and not default else "",
        default,
        choices,
        option.metavar or "",
        own_default,
        (option.opts[0], *option.secondary_opts),
    )


def _text(value: Any, kind: str) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if value is None or isinstance(value, bool):
        on, off = (ON, "") if kind == FLAG else _YES_NO
        return "" if value is None else on if value else off
    if isinstance(value, (str, int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    # Of click: nothing was said.
    return ""
