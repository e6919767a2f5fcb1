"""`pocketlens service`: `live` as a systemd service."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cache import home_path
from pocketlens.cli.options import (
    STANDARD_OUTPUT,
    Group,
    command,
    deliver,
    json_option,
    options_of,
    output,
)
from pocketlens.errors import UsageError
from pocketlens.files import output_errors, refuse_files, write_text
from pocketlens.runtime.live.sinks import SINK_OPTIONS, SinkRequest, flag, make_sinks, targets

if TYPE_CHECKING:
    from pocketlens.runtime.live.unit import ServiceRequest


@click.group(
    "service",
    cls=Group,
    epilog="Example: pocketlens service install flowers_int8.tflite --source 0 --print",
)
def service_command() -> None:
    """Run `pocketlens live` as a systemd service."""


service = options_of("Service")


@command(
    "install",
    example="pocketlens service install flowers_int8.tflite --source "
    "/dev/v4l/by-id/usb-camera-index0 --record-events seen/",
    short_help="Write the unit file of a service.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("live_arguments", metavar="MODEL [LIVE'S OPTIONS]...", nargs=-1)
@service(
    "--user/--system",
    "for_user",
    default=True,
    help="Install a service of the current user (default), or a system service, which has a "
    "stricter sandbox and runs as the user who calls sudo.",
)
@service("--name", default="pocketlens", show_default=True, help="Name of the service.")
@output("--print", "only_print", is_flag=True, help="Print the unit file and write nothing.")
@output(
    "--overwrite",
    is_flag=True,
    help="Replace a service of this name, and let the service replace its own files at each start.",
)
@json_option
def install_command(
    live_arguments: tuple[str, ...],
    for_user: bool,
    name: str,
    only_print: bool,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write the unit file of a service that runs `pocketlens live` with MODEL and live's options.

    systemd restarts it whenever it exits, and when no new frame was classified for ten minutes.
    Addresses and options with passwords go into a file beside the unit file that only its owner can
    read, and reach the process as environment variables. Everything after `--` goes to live.
    """
    from pocketlens.files import refuse_targets
    from pocketlens.runtime.live.unit import SYSTEM_FOLDER, check_name, unit_text

    check_name(name)
    refuse_targets(json_target, overwrite=overwrite)
    request = _request(name, live_arguments, None if for_user else _owner(), overwrite)
    folder = _user_folder() if for_user else SYSTEM_FOLDER
    unit, secrets = folder / f"{name}.service", folder / f"{name}.env"
    text = unit_text(request, secrets)
    control = "systemctl --user" if for_user else "sudo systemctl"

    def payload() -> dict[str, Any]:
        return {
            "name": name,
            "written": not only_print,
            "unit_file": str(unit),
            "unit": text,
            "secrets_file": str(secrets) if request.secrets else None,
            "secrets": list(request.secrets),
        }

    def show() -> None:
        if only_print:
            click.echo(text, nl=False)
            return
        click.echo(f"Wrote {unit}.")
        click.echo(f"Start it: {control} daemon-reload && {control} enable --now {name}")
        if for_user:
            click.echo("Keep it running while nobody is logged in: loginctl enable-linger")
        click.echo(f"See it: {control} status {name}")

    if not only_print:
        _write(request, unit, text, secrets, overwrite=overwrite)
    elif request.secrets:
        click.echo(f"{', '.join(request.secrets)}: would be in {secrets}, mode 0600.", err=True)
    deliver(json_target, payload, show)


service_command.add_command(install_command)


def _write(
    request: ServiceRequest, unit: Path, text: str, secrets: Path, *, overwrite: bool
) -> None:
    from pocketlens.runtime.live.unit import secrets_text

    refuse_files([unit, secrets], overwrite=overwrite)
    for needed in request.folders:
        with output_errors(needed):
            needed.mkdir(parents=True, exist_ok=True)
    # First, so that no service starts without its password.
    if request.secrets:
        write_text(secrets, secrets_text(request.secrets), mode=0o600)
    elif secrets.exists():
        secrets.unlink()
    write_text(unit, text)


def _request(
    name: str, arguments: tuple[str, ...], owner: str | None, overwrite: bool
) -> ServiceRequest:
    from pocketlens.cli.live import live_command
    from pocketlens.runtime.live.sources import SourceRequest, check_wishes, is_device
    from pocketlens.runtime.live.unit import ServiceRequest

    # live itself says what is wrong with its options, before there is a service.
    context = live_command.make_context("pocketlens live", list(arguments))
    values = context.params
    source = SourceRequest(values["source"], values["size_wh"], values["fps"], values["fourcc"])
    check_wishes(source)
    _check(source, values, overwrite=overwrite)
    model = Path(values["model"]).absolute()
    _try_options(model, values)
    given, secrets = _split(live_command, context, arguments)
    return ServiceRequest(
        name,
        (
            *(sys.executable, "-m", "pocketlens", "live", str(model)),
            *given,
            *(["--overwrite"] if _files(values) else []),
        ),
        Path.cwd(),
        secrets,
        tuple(dict.fromkeys(_folders(values))),
        owner,
        is_device(source.address),
        source.fps,
    )


def _try_options(model: Path, values: dict[str, Any]) -> None:
    """Make of live's options what live makes of them before it opens a camera or an output."""
    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.hints import ModelHints
    from pocketlens.runtime.live.decisions import Decider, DecisionSettings

    def asked(kind: Any) -> dict[str, Any]:
        return {name: values[name] for name in kind.__dataclass_fields__ if name in values}

    # A service has no terminal.
    make_sinks(SinkRequest(**asked(SinkRequest), quiet=True))
    settings = DecisionSettings(**asked(DecisionSettings))
    # As for live, the threshold is the decisions'.
    hints = ModelHints(**{**asked(ModelHints), "threshold": None})
    with Classifier(model, hints=hints) as classifier:
        Decider(classifier.labels, classifier.task, classifier.threshold, settings)


def _check(source: Any, values: dict[str, Any], *, overwrite: bool) -> None:
    if not source.live:
        raise UsageError(
            "Expected a camera or a stream as the source of a service. Received: "
            f"{source.name}, which ends. Give a camera that is not plugged in by its whole path."
        )
    desktop = [name for name, option in SINK_OPTIONS.items() if option.desktop]
    for name in ("max_frames", *desktop):
        if values.get(name):
            raise UsageError(
                f"Expected options for a service that does not end. Received: {flag(name)}. "
                "Leave it out."
            )
    for name, target in {} if overwrite else _files(values).items():
        raise UsageError(
            f"Expected outputs that a service can continue when it starts again. Received: "
            f"{flag(name)} {target}, a file that it would replace. Use --record-events DIR, "
            "or --jsonl -, which goes to the journal, or add --overwrite."
        )


def _split(
    live: click.Command, context: click.Context, arguments: tuple[str, ...]
) -> tuple[list[str], dict[str, str]]:
    """Return live's options as they were given, and those that hold secrets by their variables."""
    raw, _, order = live.make_parser(context).parse_args(list(arguments))
    given: list[str] = []
    secrets: dict[str, str] = {}
    for parameter in dict.fromkeys(order):
        if not isinstance(parameter, click.Option) or parameter.name == "overwrite":
            continue
        value = raw[parameter.name]
        values = value if isinstance(value, list) else [value]
        if isinstance(parameter.envvar, str) and _is_secret(parameter.name or "", values):
            secrets[parameter.envvar] = " ".join(values)
            continue
        for entry in values:
            given.append(parameter.opts[-1])
            # A flag has no value, and neither has an option whose value was left out.
            if isinstance(entry, str) and not parameter.is_flag:
                given.append(entry)
    return given, secrets


def _is_secret(name: str, values: list[Any]) -> bool:
    from pocketlens.runtime.live.sources import redact

    texts = [entry for entry in values if isinstance(entry, str)]
    secret = name in SINK_OPTIONS and SINK_OPTIONS[name].secret
    return bool(texts) and (secret or any(redact(entry) != entry for entry in texts))


def _files(values: dict[str, Any]) -> dict[str, str]:
    """Return what live would write again from its beginning at each start, by option."""
    files = targets(values, "file")
    if values.get("json_target") is not None:
        files["json"] = values["json_target"]
    return {name: target for name, target in files.items() if target != STANDARD_OUTPUT}


def _folders(values: dict[str, Any]) -> list[Path]:
    files = [Path(target).absolute().parent for target in _files(values).values()]
    return files + [Path(target).absolute() for target in targets(values, "folder").values()]


def _owner() -> str:
    """Return whose rights a service of the system gets: who called sudo, or who this is."""
    with contextlib.suppress(OSError, KeyError):
        return os.environ.get("SUDO_USER") or getpass.getuser()
    return "root"


def _user_folder() -> Path:
    """Return where a user's units lie; see systemd.unit(5)."""
    configuration = os.environ.get("XDG_CONFIG_HOME")
    if not configuration:
        configuration = home_path(".config", "Set HOME or XDG_CONFIG_HOME.")
    return Path(configuration) / "systemd" / "user"
