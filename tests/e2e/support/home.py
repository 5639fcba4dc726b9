"""A home of its own for every client: configuration, token cache, and the environment that points at one server."""

from __future__ import annotations

import hashlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from .places import aws_cli
from .server import Doorward

SESSION, PROFILE, LEGACY_PROFILE = "doorward", "dev", "legacy"


class Home:
    def __init__(self, folder: Path, server: Doorward):
        self.folder, self.server = folder, server
        (folder / ".aws").mkdir(parents=True)
        self.config = folder / ".aws" / "config"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / ".aws" / "credentials"),
            "AWS_PAGER": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            **server.environment,
        }

    def configure(self, account: str, role: str, start_url: str | None = None) -> None:
        start_url, region = start_url or self.server.alias, self.server.region
        what = f"sso_account_id = {account}\nsso_role_name = {role}\nregion = {region}\n"
        self.config.write_text(
            f"[profile {PROFILE}]\nsso_session = {SESSION}\n{what}\n"
            f"[sso-session {SESSION}]\nsso_start_url = {start_url}\nsso_region = {region}\n"
            f"sso_registration_scopes = sso:account:access\n\n"
            f"[profile {LEGACY_PROFILE}]\nsso_start_url = {start_url}\nsso_region = {region}\n{what}"
        )

    # --- The token file that every SDK shares

    def token_file(self, key: str = SESSION) -> Path:
        return self.folder / ".aws" / "sso" / "cache" / f"{hashlib.sha1(key.encode()).hexdigest()}.json"

    def token(self, key: str = SESSION) -> dict:
        return json.loads(self.token_file(key).read_text())

    def write_token(self, tokens, minutes_left: float = 60) -> None:
        """A login as any conforming tool would have left it behind."""
        file = self.token_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        registered_until = datetime.fromtimestamp(tokens.client.secret_expires_at, timezone.utc)
        content = {
            "startUrl": self.server.alias,
            "region": self.server.region,
            "accessToken": tokens.access,
            "expiresAt": stamp(datetime.now(timezone.utc) + timedelta(minutes=minutes_left)),
            "clientId": tokens.client.id,
            "clientSecret": tokens.client.secret,
            "registrationExpiresAt": stamp(registered_until),
            "refreshToken": tokens.refresh,
        }
        file.write_text(json.dumps(content))
        file.chmod(0o600)

    def leave_minutes(self, minutes: float) -> dict:
        """Lets the cached token run down, forgets cached role credentials, and returns the token as it was."""
        token = self.token()
        expires_at = stamp(datetime.now(timezone.utc) + timedelta(minutes=minutes))
        self.token_file().write_text(json.dumps({**token, "expiresAt": expires_at}))
        self.forget_role_credentials()
        return token

    def forget_role_credentials(self) -> None:
        for file in (self.folder / ".aws" / "cli" / "cache").glob("*.json"):
            file.unlink()


class AwsCli:
    """The command line of one Debian suite, in one home."""

    def __init__(self, suite: str, home: Home):
        self.program, self.home = aws_cli(suite), home

    def run(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(self.program), *words],
            env=self.home.environment,
            cwd=self.home.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *words: str) -> dict:
        """Runs a command that must succeed, and reads its answer."""
        done = self.run(*words, "--output", "json")
        assert done.returncode == 0, f"aws {' '.join(words)}: rc {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def start(self, *words: str) -> Waiting:
        return Waiting(
            subprocess.Popen(
                [str(self.program), *words],
                env=self.home.environment,
                cwd=self.home.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )


class Waiting:
    """A command that waits for a person; what it prints is read as it comes."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.output = process, ""

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def read_until(self, pattern: str, within: float = 30.0) -> str:
        deadline = time.monotonic() + within
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not (found := re.search(pattern, self.output)):
                assert selector.select(max(0.0, deadline - time.monotonic())), f"no {pattern!r} in:\n{self.output}"
                piece = os.read(self.process.stdout.fileno(), 65536)
                assert piece, f"ended with {self.process.wait()} before it said {pattern!r}:\n{self.output}"
                self.output += piece.decode(errors="replace")
        return found.group(0)

    def authorize_url(self) -> str:
        return self.read_until(r"https?://\S+/authorize\?\S+(?=\s)")

    def device_url(self) -> str:
        return self.read_until(r"https?://\S+[?&]user_code=\S+(?=\s)")

    def finish(self, within: float = 30.0) -> int:
        rest, _ = self.process.communicate(timeout=within)
        self.output += rest.decode(errors="replace")
        return self.process.returncode


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
