"""`doorward serve` in a folder with everything that it needs, and the other commands of the binary."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from .api import Api
from .places import doorward_binary, free_port, tool
from .server import Login

ADA = Login("ada", "a password of hers")
DIRECTORY = """
[[people]]
user_name = "ada"
password_hash = "{hash}"

[[accounts]]
id = "111122223333"
name = "Production"

[[permission_sets]]
name = "ReadOnly"

[[assignments]]
people = ["ada"]
accounts = ["111122223333"]
permission_sets = ["ReadOnly"]
"""


def doorward(*words: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess:
    command = [str(doorward_binary()), *words]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60)


class Site:
    """A folder with everything that a production server needs."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.log = folder / "stderr"
        self.process: subprocess.Popen | None = None
        hashed = doorward("hash-password", cwd=folder, stdin=ADA.password + "\n").stdout.strip()
        (folder / "directory.toml").write_text(DIRECTORY.format(hash=hashed))
        self.configure()

    def configure(self, more: str = "", scheme: str = "http", before: str = "") -> None:
        (self.folder / "doorward.toml").write_text(
            f'listen = "127.0.0.1:{self.port}"\n'
            f'public_url = "{scheme}://127.0.0.1:{self.port}"\n'
            'start_url_aliases = ["https://corp.doorward.awsapps.com/start"]\n'
            'data_dir = "data"\ndirectory = "directory.toml"\ninsecure_built_in_credentials = true\n'
            f"{before}\n{more}"
        )

    def share(self, postgres_url: str) -> None:
        """Makes it a node on a database that others share, with the one key of all nodes."""
        (self.folder / "master.key").write_text("5e" * 32 + "\n")
        (self.folder / "master.key").chmod(0o600)
        (self.folder / "database").write_text(postgres_url + "\n")
        config = self.folder / "doorward.toml"
        text = config.read_text().replace('data_dir = "data"\n', 'master_key_file = "master.key"\n')
        config.write_text(text + '\n[postgres]\nurl_file = "database"\n')

    # What a Home asks of a server
    alias, region = "https://corp.doorward.awsapps.com/start", "us-east-1"

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> Api:
        return Api(self.base, self.base, self.alias)

    @property
    def environment(self) -> dict[str, str]:
        """What points any AWS client at this server for signing in, and at nothing else."""
        return {"AWS_ENDPOINT_URL_SSO_OIDC": self.base, "AWS_ENDPOINT_URL_SSO": self.base}

    def start(self) -> None:
        self.spawn()
        self.wait()

    def spawn(self) -> None:
        command = [str(doorward_binary()), "serve", "-c", "doorward.toml"]
        self.logged = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stderr=log)

    def wait(self) -> None:
        """Until it says so itself: its port takes connections before its store is open."""
        deadline = time.monotonic() + 20
        while b" ready " not in self.log.read_bytes()[self.logged :]:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def certificate(folder: Path, name: str) -> None:
    """A self-signed certificate for this host, with `name` as its subject."""
    subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "chain.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
