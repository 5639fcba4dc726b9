"""Role credentials from backends that nobody here wrote: Ceph's gateway, and moto."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from botocore.exceptions import ClientError

from support.ceph import Ceph
from support.home import PROFILE, SESSION, AwsCli, Home
from support.moto import Moto
from support.person import Person
from support.server import Login
from support.site import ADA, Site, doorward

GRACE = Login("grace", ADA.password)
ACCOUNT = "111122223333"
PEOPLE = """
[[people]]
user_name = "ada"
password_hash = "{hash}"

[[people]]
user_name = "grace"
password_hash = "{hash}"

[[accounts]]
id = "111122223333"
name = "Storage"
"""
numbers = itertools.count()


class Serving:
    """A production server with brokers, whose ada has every role and whose grace has none."""

    def __init__(self, site: Site):
        self.site, self.roles = site, ""
        hashed = doorward("hash-password", cwd=site.folder, stdin=ADA.password + "\n").stdout.strip()
        self.people = PEOPLE.format(hash=hashed)

    def role(self, name: str, lines: str) -> None:
        """A role, with the lines of its permission set."""
        self.roles += f'\n[[permission_sets]]\nname = "{name}"\n{lines}\n'
        self.roles += f'\n[[assignments]]\npeople = ["ada"]\naccounts = ["{ACCOUNT}"]\npermission_sets = ["{name}"]\n'

    def start(self, brokers: str) -> None:
        (self.site.folder / "directory.toml").write_text(self.people + self.roles)
        self.site.configure(brokers)
        self.site.start()

    def tokens(self, login: Login = ADA):
        return self.site.api.sign_in(Person(login))

    def ask(self, role: str, token: str):
        return self.site.api.portal("/federation/credentials", token, account_id=ACCOUNT, role_name=role)

    def credentials(self, role: str) -> dict:
        answer = self.ask(role, self.tokens().access)
        assert answer.status == 200, (answer.text, self.log())
        return answer.body["roleCredentials"]

    def page(self, role: str):
        """The page with a role's credentials."""
        person = Person(ADA)
        return person.arrive(f"{self.site.base}/start/credentials?account_id={ACCOUNT}&role_name={role}")

    def log(self) -> str:
        return self.site.log.read_text()

    def denial(self, role: str) -> str:
        """What the operator reads of a denial that neither the API nor the page explains."""
        answer = self.ask(role, self.tokens().access)
        assert (answer.status, answer.body["message"]) == (403, "No access"), answer.text
        page = self.page(role)
        assert page.status == 403 and "trust policy does not let you in" in page.text, page
        lines = [line for line in self.log().splitlines() if "role_denied" in line and role in line]
        assert len(lines) == 2, self.log()
        for secret in ("arn:", "sts", self.site.base.rpartition(":")[2] + "/"):
            assert secret not in answer.text
        assert "arn:" not in page.text
        return lines[0]


@pytest.fixture
def serving(site: Site) -> Serving:
    return Serving(site)


def trust(provider: str, **conditions: str) -> dict:
    who = {"Effect": "Allow", "Principal": {"Federated": [provider]}, "Action": ["sts:AssumeRoleWithWebIdentity"]}
    if conditions:
        issuer = provider.partition("oidc-provider/")[2]
        who["Condition"] = {"StringEquals": {f"{issuer}:{claim}": value for claim, value in conditions.items()}}
    return {"Version": "2012-10-17", "Statement": [who]}


EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}]}


# --- Ceph --------------------------------------------------------------------------------------


def storage(serving: Serving, ceph: Ceph, x5c: bool) -> str:
    """A server with a role in the gateway for ada, and one that is for somebody else; the first one's bucket."""
    provider = ceph.create_oidc_provider(serving.site.base, ["storage"], ["0" * 40])
    number = next(numbers)
    for name, sub in (("Editor", "ada"), ("Closed", "somebody-else")):
        arn = ceph.create_role(f"{name}-{number}", trust(provider, sub=sub), EVERYTHING)
        serving.role(name, f'broker = "ceph"\nrole_arn = "{arn}"\nsession_duration = 900')
    serving.role("Lost", 'broker = "ceph"\nrole_arn = "arn:aws:iam:::role/nobody-made-it"')
    serving.start(
        f'[brokers.ceph]\nkind = "web-identity"\nsts_endpoint = "{ceph.endpoint}"\naudience = "storage"\n'
        f"[web_identity]\nx5c = {str(x5c).lower()}\n"
    )
    return f"bucket-{number}"


@pytest.mark.parametrize(("gateway", "x5c"), [("ceph", False), ("old_ceph", True)])
def test_aws_cli_signs_in_and_puts_and_gets_an_object(serving: Serving, gateway, x5c, request, tmp_path: Path):
    ceph: Ceph = request.getfixturevalue(gateway)
    bucket = storage(serving, ceph, x5c)
    home = Home(tmp_path / "home", serving.site)
    home.configure(ACCOUNT, "Editor")
    aws = AwsCli("sid", home)
    with aws.start("sso", "login", "--sso-session", SESSION, "--no-browser", "--use-device-code") as waiting:
        Person(ADA).approve_device(waiting.device_url())
        assert waiting.finish() == 0, waiting.output

    s3 = ("--profile", PROFILE, "--endpoint-url", ceph.endpoint, "s3api")
    (home.folder / "sent").write_text("through the front door")
    aws.json(*s3, "create-bucket", "--bucket", bucket)
    where = ("--bucket", bucket, "--key", "greeting")
    aws.json(*s3, "put-object", *where, "--body", "sent", "--checksum-algorithm", "CRC32")
    aws.json(*s3, "get-object", *where, "received")
    assert (home.folder / "received").read_text() == "through the front door"

    # The other tools, with the same token.
    assert serving.ask("Editor", home.token()["accessToken"]).status == 200


def test_only_whom_the_directory_and_the_role_both_let_in_gets_credentials(serving: Serving, ceph: Ceph):
    storage(serving, ceph, False)
    keys = serving.credentials("Editor")
    left = keys["expiration"] / 1000 - time.time()
    assert 800 < left < 930, left

    refused = serving.ask("Editor", serving.tokens(GRACE).access)
    assert (refused.status, refused.body["message"]) == (403, "No access")
    assert f'event="role_not_assigned" person=grace account={ACCOUNT} role=Editor' in serving.log()

    line = serving.denial("Closed")
    assert "broker=ceph" in line and "step=trust policy" in line and "AccessDenied" in line, line


def check(site: Site, *words: str) -> tuple[int, str]:
    """What the doctor says of brokers."""
    done = doorward("check", "-c", "doorward.toml", *words, cwd=site.folder)
    lines = [line for line in done.stdout.splitlines() if "broker" in line]
    return done.returncode, lines[-1] if lines else done.stdout + done.stderr


def test_doctor_says_which_step_decided(serving: Serving, ceph: Ceph):
    site = serving.site
    storage(serving, ceph, False)
    asked = ("--broker", "ceph", "--as", "ada", "--role")
    code, said = check(site, *asked, "Editor")
    assert code == 0 and said.startswith("ok    broker ceph: gave "), said
    # Nobody but the gateway knows whether there is such a role, and it does not tell.
    for role in ("Closed", "Lost"):
        code, said = check(site, *asked, role)
        assert code == 1 and said.startswith("WRONG broker ceph: denied: trust policy: "), said
        assert "AccessDenied" in said
    for words, why in (
        (("--broker", "ceph", "--as", "grace"), "grace has no such role whose credentials come from this broker"),
        (("--broker", "ceph", "--as", "adda"), "there is no person adda; did you mean ada?"),
        (("--broker", "cepf", "--as", "ada"), "did you mean ceph?"),
    ):
        code, said = check(site, *words)
        assert code == 1 and why in said, said


# --- moto --------------------------------------------------------------------------------------


def test_token_is_one_that_everybody_can_verify(serving: Serving, moto: Moto):
    serving.role("Editor", 'broker = "here"\nsession_tags = { team = "{role}", who = "{person}" }\nminio_policies = ["readwrite"]')
    serving.start(f'[brokers.here]\nkind = "web-identity"\nsts_endpoint = "{moto.endpoint}"\naudience = "storage"')
    assert serving.credentials("Editor")["accessKeyId"].startswith("ASIA")
    [call] = moto.calls("AssumeRoleWithWebIdentity")
    assert not call.is_signed and call.fields["Version"] == "2011-06-15"
    assert call.fields["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/Editor"
    assert (call.fields["RoleSessionName"], call.fields["DurationSeconds"]) == ("ada", "3600")

    token = call.fields["WebIdentityToken"]
    api = serving.site.api
    configuration = api.call("GET", serving.site.base + "/.well-known/openid-configuration").body
    assert configuration["issuer"] == serving.site.base
    keys = jwt.PyJWKClient(configuration["jwks_uri"])
    claims = jwt.decode(
        token, keys.get_signing_key_from_jwt(token).key, ["RS256"], audience="storage", issuer=serving.site.base
    )
    assert claims["sub"] == "ada" and claims["policy"] == ["readwrite"]
    assert claims["https://aws.amazon.com/tags"]["principal_tags"] == {"team": ["Editor"], "who": ["ada"]}
    assert claims["exp"] - claims["iat"] <= 300
    assert token not in serving.log()


def own_key(serving: Serving, content: str):
    file = serving.site.folder / "aws.key"
    file.write_text(content)
    file.chmod(0o600)


def test_own_access_key_assumes_roles_one_through_the_other(serving: Serving, moto: Moto):
    key, secret = moto.create_user("doorward", "sts:AssumeRole")
    own_key(serving, f"{key}\n{secret}\n")
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    serving.role("Editor", f"session_policy = '{policy}'\nsession_tags = {{ who = \"{{person}}\" }}\nbroker = \"aws\"")
    hub = "arn:aws:iam::000000000001:role/hub"
    serving.start(
        f'[brokers.aws]\nkind = "assume-role"\nsts_endpoint = "{moto.endpoint}"\naccess_key_file = "aws.key"\n'
        f'through = ["{hub}"]\nexternal_id = "given by the account"\n'
    )
    keys = serving.credentials("Editor")
    first, second = moto.calls("AssumeRole")
    assert first.is_signed and first.fields["RoleArn"] == hub and "ExternalId" not in first.fields
    assert f"Credential={key}/" in first.headers["Authorization"]
    assert second.fields["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/Editor"
    assert second.fields["ExternalId"] == "given by the account" and second.fields["Policy"] == policy
    assert (second.fields["Tags.member.1.Key"], second.fields["Tags.member.1.Value"]) == ("who", "ada")
    assert f"Credential={key}/" not in second.headers["Authorization"]
    assert secret not in serving.log()

    sts = moto.client("sts", keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/Editor/ada"

    # The same again comes from the cache, and for a person who signs in anew too.
    assert serving.credentials("Editor") == keys
    assert len(moto.calls("AssumeRole")) == 2


def test_wrong_own_key_is_ours_and_not_the_persons(serving: Serving, moto: Moto):
    key, _ = moto.create_user("doorward", "sts:AssumeRole")
    moto.check_signatures()
    own_key(serving, f"{key}\nnot-the-secret-of-this-key\n")
    serving.role("Editor", 'broker = "aws"')
    serving.start(f'[brokers.aws]\nkind = "assume-role"\nsts_endpoint = "{moto.endpoint}"\naccess_key_file = "aws.key"')
    assert serving.ask("Editor", serving.tokens().access).status == 500
    assert "own credentials" in serving.log() and "SignatureDoesNotMatch" in serving.log()


# --- Backends that do not answer ---------------------------------------------------------------


def test_dead_backend_fails_soon_and_slows_nobody_else(serving: Serving):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(512)
        serving.role("Silent", 'broker = "silent"')
        serving.role("Alive", 'broker = "built-in"')
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        serving.start(f'[brokers.silent]\nkind = "web-identity"\nsts_endpoint = "{endpoint}"\naudience = "x"\ntimeout = 1')
        token = serving.tokens().access
        answers = []
        asking = [threading.Thread(target=lambda: answers.append(serving.ask("Silent", token))) for _ in range(30)]
        for thread in asking:
            thread.start()
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            assert serving.ask("Alive", token).status == 200
            slowest = max(slowest, time.monotonic() - began)
        for thread in asking:
            thread.join(timeout=40)
        # A silent backend takes seconds to give up on; whoever waits for another waits for none of them.
        assert slowest < 1, slowest
        assert [answer.status for answer in answers] == [500] * 30
        assert "network" in serving.log()
        page = serving.page("Silent")
        assert page.status == 500 and ("could not be reached" in page.text or "failed many times" in page.text), page
