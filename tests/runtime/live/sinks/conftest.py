"""What the tests of several sinks need."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that nobody trusts: its path without .pem and .key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes certificates, is not installed")
    own = tmp_path / "own"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{own}.key", "-out", f"{own}.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return own
