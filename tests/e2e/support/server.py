"""One `doorward dev` process: started on a free port, stopped by its process id."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .api import Api
from .places import doorward_binary

READY_WITHIN = 20.0


@dataclass(frozen=True)
class Login:
    """A person of the directory, as `doorward dev` seeds them."""

    user_name: str
    password: str


class Doorward:
    def __init__(self, folder: Path, *flags: str, listen: str = "127.0.0.1:0", environment: dict[str, str] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / f"stderr-{time.monotonic_ns()}"
        command = [str(doorward_binary()), "dev", "--listen", listen, "--json", *flags]
        surroundings = {"PATH": os.environ["PATH"], "HOME": str(folder), **(environment or {})}
        started = time.monotonic()
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=surroundings, stdout=subprocess.PIPE, stderr=log)
        try:
            line = self._first_line()
            self.started_in = time.monotonic() - started
            self.facts = json.loads(line)
        except BaseException:
            self.kill()
            raise
        self.oidc_endpoint = self.facts["oidc_endpoint"].rstrip("/")
        self.portal_endpoint = self.facts["portal_endpoint"].rstrip("/")
        self.region = self.facts["region"]
        self.start_url = self.facts["start_url"]
        self.alias = self.facts["start_url_aliases"][0]
        self.people = [Login(person["user_name"], person["password"]) for person in self.facts["people"]]
        self.api = Api(self.oidc_endpoint, self.portal_endpoint, self.alias)

    def _first_line(self) -> bytes:
        """The one line of `--json`. Its absence shows what the server said instead."""
        line, deadline = b"", time.monotonic() + READY_WITHIN
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    pytest.fail(f"not ready within {READY_WITHIN} s; it said:\n{self.log()}", pytrace=False)
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    pytest.fail(f"ended with {self.process.wait()} before it was ready:\n{self.log()}", pytrace=False)
                line += piece
        return line

    @property
    def environment(self) -> dict[str, str]:
        """What points any AWS client at this server, and at nothing else."""
        return {
            "AWS_ENDPOINT_URL_SSO_OIDC": self.oidc_endpoint,
            "AWS_ENDPOINT_URL_SSO": self.portal_endpoint,
            "AWS_ENDPOINT_URL_STS": self.oidc_endpoint,
        }

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def advance_clock(self, seconds: int) -> None:
        self._control("/dev/clock", {"advance_seconds": seconds})

    def store_is(self, state: str) -> None:
        self._control("/dev/faults", {"store": state})

    def _control(self, path: str, body: dict) -> None:
        answer = self.api.post(path, body)
        assert answer.status in (200, 204), f"POST {path} {body}: {answer.status} {answer.text}"

    def stop(self) -> int | None:
        """SIGTERM, and the exit code; None for a server that had to be killed after all."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        finally:
            self.process.stdout.close()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
