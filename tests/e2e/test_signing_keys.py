"""Signing keys that are rotated and replaced beside a server that runs, as the manual has it, on both kinds of store."""

from __future__ import annotations

import os
import re
import subprocess
import time
from datetime import datetime, timedelta, timezone

import jwt
import pytest

from support.documents import blocks
from support.moto import Moto
from support.person import Person
from support.places import ROOT, doorward_binary
from support.site import ADA, Site, doorward

PAGE = ROOT / "docs" / "operations" / "signing-keys.md"
ACCOUNT, ROLE = "111122223333", "ReadOnly"
BROKER = """
[brokers.here]
kind = "web-identity"
sts_endpoint = "{endpoint}"
audience = "storage"
cache = 0
"""


class Signing:
    """A server that signs web identity tokens for a service that remembers them."""

    def __init__(self, site: Site, moto: Moto, postgres):
        self.site, self.moto, self.postgres = site, moto, postgres

    def start(self, more: str = "") -> None:
        self.site.configure(BROKER.format(endpoint=self.moto.endpoint) + more)
        config = self.site.folder / "doorward.toml"
        config.write_text(config.read_text().replace("insecure_built_in_credentials = true\n", ""))
        if self.postgres:
            self.site.share(self.postgres.url)
        self.site.start()
        self.access = self.site.api.sign_in(Person(ADA)).access

    def token(self) -> str:
        """A web identity token that was made now."""
        answer = self.site.api.portal("/federation/credentials", self.access, account_id=ACCOUNT, role_name=ROLE)
        assert answer.status == 200, answer.text
        return self.moto.calls("AssumeRoleWithWebIdentity")[-1].fields["WebIdentityToken"]

    def keys(self) -> dict:
        """The published keys by their ids, in their order."""
        answer = self.site.api.call("GET", f"{self.site.base}/.well-known/jwks.json")
        return {key["kid"]: jwt.PyJWK(key).key for key in answer.body["keys"]}

    def verify(self, token: str) -> dict:
        """As a verifier that has just fetched the keys."""
        kid = jwt.get_unverified_header(token)["kid"]
        return jwt.decode(token, self.keys()[kid], ["RS256"], audience="storage", issuer=self.site.base)

    def list(self) -> list[dict]:
        """What `doorward key list` prints."""
        done = doorward("key", "list", "-c", "doorward.toml", cwd=self.site.folder)
        assert done.returncode == 0, done.stderr
        head, *rows = [re.split(" {2,}", line) for line in done.stdout.splitlines()]
        return [dict(zip(head, row, strict=True)) for row in rows]

    def shell(self, commands: str) -> subprocess.CompletedProcess:
        """Runs what the manual shows: in the server's folder, with its port."""
        tools = self.site.folder / "bin"
        tools.mkdir(exist_ok=True)
        if not (tools / "doorward").exists():
            (tools / "doorward").symlink_to(doorward_binary().resolve())
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        commands = commands.replace("127.0.0.1:8443", f"127.0.0.1:{self.site.port}")
        done = subprocess.run(
            ["sh", "-euc", commands], cwd=self.site.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
        return done


def kid_of(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def becomes_true(holds, seconds: float) -> None:
    """Within so many seconds, and three more for a slow machine."""
    deadline = time.monotonic() + seconds + 3
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


@pytest.fixture(params=["data directory", "PostgreSQL"])
def signing(request, site: Site, moto: Moto) -> Signing:
    postgres = request.getfixturevalue("postgres") if request.param == "PostgreSQL" else None
    return Signing(site, moto, postgres)


def test_keys_are_replaced_as_the_manual_says_without_a_restart(signing: Signing):
    signing.start()
    pid = signing.site.process.pid
    before = signing.token()
    assert signing.verify(before)["sub"] == "ada"
    old = kid_of(before)
    [row] = signing.list()
    assert (row["kid"], row["algorithm"], row["state"]) == (old, "RS256", "active")

    commands, replace, look = blocks(PAGE, "sh")
    said = signing.shell(commands)
    assert "RS256: the next key is " in said.stdout and "RS256: the next key is there already" not in said.stdout
    assert "ES256: there is no key" in said.stdout
    assert "signing_key_made" in said.stderr
    becomes_true(lambda: len(signing.keys()) == 2, 10)
    assert kid_of(signing.token()) == old, "the next key signs in an hour"
    assert "is there already" in doorward("key", "rotate", cwd=signing.site.folder).stdout

    began = datetime.now(timezone.utc)
    said = signing.shell(replace)
    [new] = re.findall(r"^RS256: the key is now (\S+)$", said.stdout, re.M)
    made, *removed = [line for line in said.stderr.splitlines() if " audit: " in line]
    assert "signing_key_made" in made and new in made
    assert len(removed) == 2 and all('"replaced"' in line for line in removed) and any(old in line for line in removed)
    # The seconds that the manual promises.
    becomes_true(lambda: list(signing.keys()) == [new], 10)
    after = signing.token()
    assert kid_of(after) == new and signing.verify(after)["sub"] == "ada"
    with pytest.raises(KeyError):
        signing.verify(before)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(before, signing.keys()[new], ["RS256"], audience="storage")

    said = signing.shell(look)
    [row] = signing.list()
    assert (row["kid"], row["state"]) == (new, "active") and f'"kid":"{new}"' in said.stdout and old not in said.stdout
    since = datetime.fromisoformat(row["since"])
    assert began - timedelta(seconds=1) <= since <= datetime.now(timezone.utc)
    assert signing.site.process.pid == pid and signing.site.process.poll() is None
    assert signing.site.stop() == 0


def test_a_rotation_is_noticed_by_nobody(signing: Signing):
    signing.start("\n[signing_keys]\npublish_ahead = 10\n")
    before = signing.token()
    answer = signing.site.api.call("GET", f"{signing.site.base}/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=5"
    done = doorward("key", "rotate", "--algorithm", "rs256", "--log-json", cwd=signing.site.folder)
    [(kid, moment)] = re.findall(r"^RS256: the next key is (\S+), which signs from (\S+) on$", done.stdout, re.M)
    assert '"event":"signing_key_made"' in done.stderr and kid in done.stderr
    becomes_true(lambda: list(signing.keys()) == [kid_of(before), kid], 3)
    states = {row["kid"]: row for row in signing.list()}
    assert states[kid_of(before)]["state"] == "active" and states[kid_of(before)]["until"] == moment
    assert states[kid]["state"] == "next" and states[kid]["until"] == moment
    last = signing.token()
    while kid_of(last) != kid:
        assert datetime.now(timezone.utc) < datetime.fromisoformat(moment) + timedelta(seconds=2)
        signing.verify(last)
        signing.verify(before)
        time.sleep(0.2)
        last = signing.token()
    assert datetime.now(timezone.utc) >= datetime.fromisoformat(moment)
    assert list(signing.keys()) == [kid, kid_of(before)], "the key that signs is the first"
    assert signing.verify(last)["sub"] == signing.verify(before)["sub"] == "ada"
    states = {row["kid"]: row["state"] for row in signing.list()}
    assert states == {kid: "active", kid_of(before): "retired"}


def test_a_server_without_keys_has_nothing_to_do(site: Site):
    site.start()
    for words in (("list",), ("rotate",), ("replace",)):
        done = doorward("key", *words, cwd=site.folder)
        assert done.returncode == 0 and done.stdout.startswith("there is no signing key"), done
    done = doorward("key", "rotate", "--algorithm", "HS256", cwd=site.folder)
    assert done.returncode == 1 and "RS256, ES256, EdDSA" in done.stderr, done.stderr
