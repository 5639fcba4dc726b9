"""A real PostgreSQL for a test, and a slow way to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from .places import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Postgres:
    """A server in a scratch folder; its own programs refuse to run as root, so root hands over to its user."""

    def __init__(self):
        if not PROGRAMS:
            pytest.fail("PostgreSQL is missing: run `apt-get install postgresql`", pytrace=False)
        self.user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="doorward-pg-")), free_port()
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "doorward", "--auth=trust", "--no-sync")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "doorward", "doorward")

    def _run(self, program: str, *words: str) -> None:
        command = [str(PROGRAMS[-1] / program), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=60, **self.user)

    @property
    def url(self) -> str:
        return f"postgres://doorward@127.0.0.1:{self.port}/doorward"

    def start(self) -> None:
        command = [str(PROGRAMS[-1] / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self.user)
        deadline = time.monotonic() + 30
        while True:
            ready = [str(PROGRAMS[-1] / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _processes(self) -> list[int]:
        """The process that was started, and its children."""
        found = [self.process.pid]
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The parent is the second field after the name, which is in parentheses.
                if int(entry.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(entry.parent.name))
            except OSError:
                continue
        return found

    def freeze(self) -> None:
        """Stops its processes where they are, as a machine that hangs would."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def ask(self, sql: str) -> str:
        """The one value that the query has; nothing while there is no such table."""
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "doorward", "-d", "doorward"]
        command = [str(PROGRAMS[-1] / "psql"), "-X", "-A", "-t", *place, "-c", sql]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=self.folder).stdout.strip()

    def number(self, sql: str) -> int:
        return int(self.ask(sql))

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        time.sleep(0.5)

    def remove(self) -> None:
        self.thaw()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class SlowWay:
    """A port that leads to another, where each statement waits for `delay` seconds on its way."""

    def __init__(self, target: int):
        self.target, self.delay = target, 0.0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except ConnectionRefusedError:
                    client.close()
                    continue
                for pair, slow in (((client, server), True), ((server, client), False)):
                    threading.Thread(target=self._pass, args=(*pair, slow), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                # Bind and Query of the protocol: what has a statement done. Connecting and preparing are as quick as ever.
                if slow and piece[:1] in (b"B", b"Q"):
                    time.sleep(self.delay)
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
