"""Where things are. A missing tool fails the test that wants it, with the command that brings it; it never skips one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "target" / "e2e"
INSTALL = "python3 tests/e2e/install.py"


def doorward_binary() -> Path:
    path = Path(os.environ.get("DOORWARD_BIN") or ROOT / "target" / "debug" / "doorward")
    if not path.is_file():
        pytest.fail(f"{path} is missing: run `cargo build`, or set DOORWARD_BIN", pytrace=False)
    return path


def aws_cli(suite: str) -> Path:
    return needed(TARGET / "awscli" / suite / "aws")


def javascript_modules() -> Path:
    return needed(TARGET / "js" / "node_modules" / "@aws-sdk" / "client-sts").parents[1]


def tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.fail(f"{name} is missing: run `{INSTALL}`", pytrace=False)
    return found


def needed(path: Path) -> Path:
    if not path.exists():
        pytest.fail(f"{path} is missing: run `{INSTALL}`", pytrace=False)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port: int, process: subprocess.Popen, log: Callable[[], str], within: float = 60.0) -> None:
    """Until the process takes connections there. One that ends before, or never does, fails with what it said."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None and time.monotonic() < deadline, log()
        time.sleep(0.05)
