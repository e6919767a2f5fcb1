"""A systemd service that runs `pocketlens live`: the unit, and the file that keeps passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.errors import UsageError
from pocketlens.runtime.live.staleness import allowance_s

SYSTEM_FOLDER = Path("/etc/systemd/system")

# No ping comes while frames are stale, although the run itself opens the source again and again.
# So the limit is for what that does not cure, and longer than most outages of a camera.
_WATCHDOG_S = 600
# How many frames of a slow source may be late.
_LATE_FRAMES = 5

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
# What systemd.syntax(7) knows as an escape; other control characters have none that is shorter.
_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_HARDENING = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
)
# These take a manager with the rights of root.
_SYSTEM_HARDENING = (
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "DevicePolicy=closed",
)
# Cameras on USB and on a Raspberry Pi's flat cable, with the memory that libcamera shares.
_CAMERA_DEVICES = ("char-video4linux", "char-media", "char-dma_heap")


@dataclass(frozen=True)
class ServiceRequest:
    """What a service runs.

    `arguments` is the whole command, the program's absolute path first. `secrets` are environment
    variables that nobody else may read. `folders` are written to. `user` is whose rights a service
    of the system has; None makes a service of the user. `camera` says that it uses a device, `fps`
    how often a frame is expected, in frames per second.
    """

    name: str
    arguments: tuple[str, ...]
    working_folder: Path
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    folders: tuple[Path, ...] = ()
    user: str | None = None
    camera: bool = True
    fps: float | None = None


def check_name(name: str) -> None:
    """Raise UsageError where a service cannot have a name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "Expected a service's name of letters, digits, dots, dashes and underscores. "
            f"Received: {name!r}. Name it like barn-door."
        )


def unit_text(request: ServiceRequest, secrets_file: Path) -> str:
    """Return the unit file of a service; see systemd.service(5) and systemd.exec(5).

    Args:
        request: what it runs.
        secrets_file: where `secrets_text` lies; named only where there are secrets.

    Raises:
        UsageError: a path cannot be written into a unit.
    """
    watchdog_s = round(allowance_s(_WATCHDOG_S, _LATE_FRAMES, request.fps))
    lines = [
        "[Unit]",
        f"Description=pocketlens live ({request.name})",
        "# RestartSec allows 12 starts a minute, so that it never gives a camera up.",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=20",
        "",
        "[Service]",
        "Type=notify",
        # The colon: no environment variables are put in, so that $ means itself.
        f"ExecStart=:{' '.join(map(quote, request.arguments))}",
        f"WorkingDirectory={_path(request.working_folder)}",
        "Environment=PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1",
        *([f"EnvironmentFile={_path(secrets_file)}"] if request.secrets else []),
        "TimeoutStartSec=120",
        "TimeoutStopSec=10",
        "# Only the main process gets SIGTERM; it finishes its recording and ends its children.",
        "KillMode=mixed",
        "# Pings come with results of fresh frames only. While a source is away the run opens it",
        "# again by itself; if that does not help in time, the service is restarted.",
        f"WatchdogSec={watchdog_s}",
        "WatchdogSignal=SIGTERM",
        "Restart=always",
        "RestartSec=5",
        "# Called with wrong options, which a restart does not fix.",
        "RestartPreventExitStatus=2",
        "",
        *_HARDENING,
        *(_system_lines(request) if request.user is not None else []),
        "",
        "[Install]",
        f"WantedBy={'default' if request.user is None else 'multi-user'}.target",
    ]
    return "\n".join(lines) + "\n"


def secrets_text(secrets: Mapping[str, str]) -> str:
    """Return an EnvironmentFile; see systemd.exec(5).

    Raises:
        UsageError: a value has a line end, or another character that no such file can hold.
    """
    lines = []
    for name, value in secrets.items():
        if not value.isprintable():
            raise UsageError(
                f"Expected a value without control characters for {name}. Received: one with some. "
                "Write them as %-escapes."
            )
        escaped = re.sub(r'(["\\$`])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def quote(argument: str) -> str:
    """Return an argument as a unit file has it, for a command line that begins with a colon.

    Rules of systemd.syntax(7), "Quoting", and of systemd.unit(5), "Specifiers".
    """
    if _PLAIN.fullmatch(argument):
        return argument
    text = "".join(
        _ESCAPES.get(letter) or (letter if letter.isprintable() else _hex(letter))
        for letter in argument
    )
    return f'"{text}"'


def _system_lines(request: ServiceRequest) -> Sequence[str]:
    return [
        *_SYSTEM_HARDENING,
        *(f"DeviceAllow={name} rw" for name in _CAMERA_DEVICES if request.camera),
        f"User={request.user}",
        *(["SupplementaryGroups=video"] if request.camera else []),
        # The only places where it may write.
        f"CacheDirectory={request.name}",
        f"RuntimeDirectory={request.name}",
        f"Environment=POCKETLENS_CACHE=%C/{request.name} TMPDIR=%t/{request.name}",
        *(f"ReadWritePaths={quote(str(folder))}" for folder in request.folders),
    ]


def _hex(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def _path(path: Path) -> str:
    """Return a path as settings take it that do not know quotes."""
    text = str(path)
    if not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise UsageError(
            "Expected a path without control characters, spaces at its ends or a backslash at its "
            f"end. Received: {text!r}. Use another folder."
        )
    return text.replace("%", "%%")
