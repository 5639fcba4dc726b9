"""What the STS servers of others want of an issuer, and what they answer. docs/operations/ceph.md tells operators the same."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.ceph import Ceph, compact
from support.documents import blocks
from support.issuer import DISCOVERY, KEYS, Issuer, Key
from support.moto import Moto
from support.places import ROOT, aws_cli
from support.site import certificate
from support.sts import StsAnswer, assume_role

KEY, OTHER_KEY, ELLIPTIC_KEY = Key("one"), Key("two"), Key("three", "ES256")
PLAIN, CERTIFIED = KEY.jwk(), KEY.jwk(with_certificate=True)
TAGS = "https://aws.amazon.com/tags"
REFUSED, INVALID = (403, "AccessDenied"), (400, "InvalidArgument")

names = (f"Role{number}" for number in itertools.count())


def trust(provider: str, actions: tuple[str, ...] = ("sts:AssumeRoleWithWebIdentity",), **conditions) -> dict:
    who = {"Effect": "Allow", "Principal": {"Federated": [provider]}, "Action": list(actions)}
    if conditions:
        who["Condition"] = conditions
    return {"Version": "2012-10-17", "Statement": [who]}


def permit(*actions: str) -> dict:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "arn:aws:s3:::*"}]}


class Backend:
    """A gateway that knows an issuer, and a role for whom that vouches for."""

    def __init__(self, ceph: Ceph, issuer: Issuer, thumbprint: str = KEY.thumbprint):
        self.ceph, self.issuer = ceph, issuer
        self.provider = ceph.create_oidc_provider(issuer.url, [issuer.audience], [thumbprint])
        self.role = self.role_with(trust(self.provider))

    def role_with(self, trust_policy: dict, permission_policy: dict | None = None, **more) -> str:
        return self.ceph.create_role(next(names), trust_policy, permission_policy or permit("s3:*"), **more)

    def condition(self, claim: str) -> str:
        """The key of a trust policy's condition on a claim: the issuer's URL without its scheme, and the claim."""
        return f"{self.provider.partition('oidc-provider/')[2]}:{claim}"

    def ask(self, token: str | None = None, role: str | None = None, **more) -> StsAnswer:
        return assume_role(self.ceph.endpoint, role or self.role, token or self.issuer.token(KEY), **more)


@pytest.fixture
def issuer():
    issuer = Issuer(CERTIFIED)
    yield issuer
    issuer.close()


@pytest.fixture(params=["ceph", "old_ceph"])
def backend(request: pytest.FixtureRequest, issuer: Issuer) -> Backend:
    return Backend(request.getfixturevalue(request.param), issuer)


# --- Ceph: what works --------------------------------------------------------------------------


def test_credentials_put_and_get_an_object(backend: Backend):
    answer = backend.ask(DurationSeconds="900")
    assert answer["SubjectFromWebIdentityToken"] == "ada" and answer["Provider"] == backend.issuer.url
    role_name = backend.role.rpartition("/")[2]
    assert answer["Arn"] == f"arn:aws:sts:::assumed-role/{role_name}/ada"
    # Nanoseconds, which not every reader of ISO 8601 takes.
    whole, _, fraction = answer["Expiration"].rstrip("Z").partition(".")
    assert len(fraction) == 9
    assert abs(datetime.fromisoformat(whole + "+00:00").timestamp() - time.time() - 900) < 30

    s3, bucket = backend.ceph.client("s3", *answer.keys), role_name.lower()
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="greeting", Body=b"hello")
    assert s3.get_object(Bucket=bucket, Key="greeting")["Body"].read() == b"hello"


def test_gateway_asks_for_the_issuers_documents_at_every_call_and_for_nothing_else(backend: Backend):
    assert backend.ask().status == backend.ask().status == 200
    assert backend.issuer.asked == [DISCOVERY, KEYS] * 2


def test_credentials_can_do_what_the_role_and_the_session_policy_both_allow(backend: Backend):
    reader = backend.role_with(trust(backend.provider), permit("s3:GetObject"))
    bucket = reader.rpartition("/")[2].lower()
    owner = backend.ceph.client("s3")
    owner.create_bucket(Bucket=bucket)
    owner.put_object(Bucket=bucket, Key="greeting", Body=b"hello")
    narrowed = backend.ask(Policy=compact(permit("s3:GetObject")))
    for keys in (backend.ask(role=reader).keys, narrowed.keys):
        s3 = backend.ceph.client("s3", *keys)
        assert s3.get_object(Bucket=bucket, Key="greeting")["Body"].read() == b"hello"
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket=bucket, Key="mine", Body=b"")


def test_role_of_an_account(issuer: Issuer, ceph: Ceph):
    account = json.loads(ceph.admin("account", "create", "--account-name", "Production"))["id"]
    words = ["--uid", "root", "--display-name", "Root", "--account-id", account, "--account-root"]
    [key] = json.loads(ceph.admin("user", "create", *words, "--gen-access-key", "--gen-secret"))["keys"]
    backend = Backend(ceph.as_user(key["access_key"], key["secret_key"]), issuer)
    assert re.fullmatch(r"arn:aws:iam::RGW\d{17}:role/Role\d+", backend.role) and account in backend.role
    answer = backend.ask()
    assert answer["Arn"].startswith(f"arn:aws:sts::{account}:assumed-role/")
    ceph.client("s3", *answer.keys).create_bucket(Bucket="of-the-account")
    assert owner_of("of-the-account", ceph) == account


def test_bucket_without_an_account_belongs_to_the_subject(backend: Backend):
    backend.ceph.client("s3", *backend.ask().keys).create_bucket(Bucket="of-ada")
    assert owner_of("of-ada", backend.ceph) == "$oidc$ada"
    # The role alone decides what is allowed.
    other = backend.ceph.client("s3", *backend.ask(backend.issuer.token(KEY, sub="bob")).keys)
    other.put_object(Bucket="of-ada", Key="of-bob", Body=b"")


def owner_of(bucket: str, ceph: Ceph) -> str:
    return json.loads(ceph.admin("bucket", "stats", "--bucket", bucket))["owner"]


@pytest.mark.parametrize("gateway", ["ceph", "old_ceph"])
def test_documented_commands_set_up_what_works(
    gateway: str, request: pytest.FixtureRequest, issuer: Issuer, tmp_path: Path
):
    ceph = request.getfixturevalue(gateway)
    page = ROOT / "docs" / "operations" / "ceph.md"
    [administrator, any_thumbprint, thumbprint, commands], [broker] = blocks(page, "sh"), blocks(page, "toml")
    broker = tomllib.loads(broker)["brokers"]["ceph"]
    issuer.keys = [PLAIN] if gateway == "ceph" else [CERTIFIED]
    role = next(names)

    def here(text: str) -> str:
        text = text.replace("https://sso.example.org", issuer.url).replace("https://s3.example.org", ceph.endpoint)
        return text.replace("sso.example.org", issuer.url.partition("://")[2]).replace("ReadOnly", role)

    for name, text in zip(("trust.json", "permissions.json"), blocks(page, "json"), strict=True):
        (tmp_path / name).write_text(here(text))
    (tmp_path / "aws").symlink_to(aws_cli("sid"))
    script = tmp_path / "radosgw-admin"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(ceph.command("radosgw-admin", "-n", "client.rgw"))} "$@"\n')
    script.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    lines = here("\n".join([administrator, any_thumbprint if gateway == "ceph" else thumbprint, commands]))
    ceph.delete_oidc_provider(issuer.url)
    shell = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run(["bash", "-euc", lines], check=False, **shell)
    assert done.returncode == 0, done.stdout + done.stderr

    owner = ceph.client("s3")
    owner.create_bucket(Bucket="reports")
    owner.put_object(Bucket="reports", Key="one", Body=b"1")
    arn = here(broker["role_arn"]).format(role=role)
    token = issuer.token(KEY, aud=broker["audience"])
    answer = assume_role(here(broker["sts_endpoint"]), arn, token, DurationSeconds="43200")
    s3 = ceph.client("s3", *answer.keys)
    assert s3.get_object(Bucket="reports", Key="one")["Body"].read() == b"1"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket="reports", Key="one")


# --- Ceph: the key set -------------------------------------------------------------------------

KEY_SETS = {
    "plain": ([PLAIN], True, False),
    "plain, after other keys": ([OTHER_KEY.jwk(), ELLIPTIC_KEY.jwk(), PLAIN], True, False),
    "with certificate": ([CERTIFIED], True, True),
    "with certificate, before others": ([CERTIFIED, OTHER_KEY.jwk(), ELLIPTIC_KEY.jwk()], True, True),
    "with certificate, after others": ([OTHER_KEY.jwk(), CERTIFIED], True, False),
    "another": ([OTHER_KEY.jwk(with_certificate=True)], False, False),
    "none": ([], False, False),
}


@pytest.mark.parametrize("case", KEY_SETS)
def test_old_gateway_looks_at_the_certificate_of_the_first_key_and_the_new_one_at_all_keys(
    case: str, issuer: Issuer, ceph: Ceph, old_ceph: Ceph
):
    issuer.keys, new, old = KEY_SETS[case]
    for gateway, accepts in ((ceph, new), (old_ceph, old)):
        answer = Backend(gateway, issuer).ask()
        assert answer.status == 200 if accepts else answer.refusal == REFUSED, (gateway.installed.name, answer)


def test_elliptic_key_needs_its_certificate(issuer: Issuer, ceph: Ceph):
    backend = Backend(ceph, issuer, ELLIPTIC_KEY.thumbprint)
    for with_certificate in (True, False):
        issuer.keys = [ELLIPTIC_KEY.jwk(with_certificate)]
        assert (backend.ask(issuer.token(ELLIPTIC_KEY)).status == 200) == with_certificate


def test_thumbprint_is_compared_with_the_certificate_of_a_key_by_the_new_gateway_alone(
    issuer: Issuer, ceph: Ceph, old_ceph: Ceph
):
    new, old = (Backend(gateway, issuer, OTHER_KEY.thumbprint) for gateway in (ceph, old_ceph))
    assert new.ask().refusal == REFUSED
    assert old.ask().status == 200
    issuer.keys = [PLAIN]
    assert new.ask().status == 200


def test_private_authority_of_the_issuers_certificate_is_given_in_the_environment(tmp_path: Path, ceph: Ceph):
    certificate(tmp_path, "issuer")
    issuer = Issuer(PLAIN, tls=tmp_path)
    trusting = None
    try:
        assert Backend(ceph, issuer).ask().refusal == INVALID
        trusting = Ceph(environment={"CURL_CA_BUNDLE": str(tmp_path / "chain.pem")})
        assert Backend(trusting, issuer).ask().status == 200
    finally:
        issuer.close()
        if trusting:
            trusting.remove()


# --- Ceph: refusals ----------------------------------------------------------------------------


TOKENS = {
    "audience in a list": ({"aud": ["another", Issuer.audience]}, None),
    "audience as azp": ({"aud": "another", "azp": Issuer.audience}, None),
    "no times": ({"iat": None, "exp": None}, None),
    "long": ({"groups": ["g" * 30] * 500}, None),
    "wrong audience": ({"aud": "another"}, REFUSED),
    "wrong issuer": ({"iss": "http://127.0.0.1:1"}, REFUSED),
    "empty subject": ({"sub": ""}, INVALID),
    "no subject": ({"sub": None}, INVALID),
}


@pytest.mark.parametrize("case", TOKENS)
def test_refusal_of_a_token_does_not_say_what_is_wrong_with_it(case: str, backend: Backend):
    claims, refusal = TOKENS[case]
    answer = backend.ask(backend.issuer.token(KEY, **claims))
    if refusal:
        assert answer.refusal == refusal and not answer["Message"], answer
    else:
        assert answer.status == 200, answer


def test_times_are_compared_without_any_leeway(backend: Backend):
    """So a token is dated back: the gateway's clock may be behind."""
    now = int(time.time())
    for claims in ({"exp": now - 1}, {"iat": now + 5}, {"nbf": now + 5}):
        assert backend.ask(backend.issuer.token(KEY, **claims)).refusal == REFUSED, claims


def test_bad_signature_is_refused_and_the_key_id_ignored(backend: Backend):
    impostor = Key(KEY.kid)
    assert backend.ask(backend.issuer.token(impostor)).refusal == REFUSED
    namesake = Key("another name")
    namesake.private = KEY.private
    assert backend.ask(backend.issuer.token(namesake)).status == 200


def test_issuer_with_a_trailing_slash_is_another_issuer(backend: Backend):
    assert backend.ask(backend.issuer.token(KEY, iss=backend.issuer.url + "/")).refusal == REFUSED


PARAMETERS = {
    "no role": ({"RoleArn": None}, REFUSED),
    "role with an account": ({"RoleArn": "arn:aws:iam::111122223333:role/Role0"}, REFUSED),
    "unknown role": ({"RoleArn": "arn:aws:iam:::role/Nobody"}, REFUSED),
    "no session name": ({"RoleSessionName": None}, REFUSED),
    "session name with a slash": ({"RoleSessionName": "ada/x"}, INVALID),
    "long session name": ({"RoleSessionName": "a" * 65}, INVALID),
    "longest session name": ({"RoleSessionName": "a" * 64}, None),
    "shortest duration": ({"DurationSeconds": "900"}, None),
    "short duration": ({"DurationSeconds": "899"}, INVALID),
    "longer than the role allows": ({"DurationSeconds": "3601"}, INVALID),
    "bad session policy": ({"Policy": "{"}, (400, "MalformedPolicyDocument")),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters(case: str, backend: Backend):
    parameters, refusal = PARAMETERS[case]
    answer = backend.ask(**parameters)
    assert answer.refusal == (refusal or (200, None)), answer


def test_role_allows_up_to_twelve_hours(backend: Backend):
    role = backend.role_with(trust(backend.provider), MaxSessionDuration=43200)
    assert backend.ask(role=role, DurationSeconds="43200").status == 200
    assert backend.ask(role=role, DurationSeconds="43201").refusal == INVALID


def test_role_name_has_no_underscore(backend: Backend):
    for character in "_+":
        with pytest.raises(ClientError):
            backend.ceph.create_role(f"Read{character}Only", trust(backend.provider), permit("s3:*"))


def test_trust_policy_refuses_as_a_bad_token_is_refused(backend: Backend):
    subject, audience = backend.condition("sub"), backend.condition("aud")
    hers = trust(backend.provider, StringEquals={subject: "ada", audience: Issuer.audience})
    assert backend.ask(role=backend.role_with(hers)).status == 200
    admins = trust(backend.provider, **{"ForAnyValue:StringEquals": {backend.condition("groups"): "admins"}})
    admins = backend.role_with(admins)
    assert backend.ask(backend.issuer.token(KEY, groups=["users", "admins"]), admins).status == 200
    his = trust(backend.provider, StringEquals={subject: "bob"})
    elsewhere = trust(backend.provider + "/elsewhere")
    signed_only = trust(backend.provider, ("sts:AssumeRole",))
    refused = [backend.ask(role=backend.role_with(policy)) for policy in (his, elsewhere, signed_only)]
    refused.append(backend.ask(backend.issuer.token(KEY, groups=["users"]), admins))
    for answer in refused:
        assert answer.refusal == REFUSED and not answer["Message"], answer


NOT_VALIDATED = "Signature can not be validated with the JWKS present."
# What is wrong, whether the gateway asked for the keys before it refused, and what it logs; by its version if need be.
CAUSES = {
    "issuer": (False, "Couldn't get oidc provider info using input iss"),
    "audience": (False, "Client id in token doesn't match with that registered with oidc provider"),
    "signature": (True, {"ceph": NOT_VALIDATED, "old_ceph": "Signature validation failed: "}),
    "clock": (True, {"ceph": NOT_VALIDATED, "old_ceph": "Signature validation failed: token verification failed: token expired"}),
    "role": (True, "Role not found: name:Nobody"),
    "trust": (True, "evaluating policy for op: "),
    "tags": (True, "evaluating policy for stsTagSession returned deny/pass"),
}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("gateway", ["ceph", "old_ceph"])
def test_gateway_logs_the_cause_that_it_does_not_answer(
    cause: str, gateway: str, request: pytest.FixtureRequest, issuer: Issuer
):
    backend = Backend(request.getfixturevalue(gateway), issuer)
    hers = backend.role_with(trust(backend.provider, StringEquals={backend.condition("sub"): "ada"}))
    assert backend.ask(role=hers).status == 200
    before, issuer.asked = backend.ceph.gateway_log, []
    token, role = {
        "issuer": lambda: (issuer.token(KEY, iss="http://127.0.0.1:1"), hers),
        "audience": lambda: (issuer.token(KEY, aud="another"), hers),
        "signature": lambda: (issuer.token(OTHER_KEY), hers),
        "clock": lambda: (issuer.token(KEY, exp=int(time.time()) - 10), hers),
        "role": lambda: (issuer.token(KEY), "arn:aws:iam:::role/Nobody"),
        "trust": lambda: (issuer.token(KEY, sub="bob"), hers),
        "tags": lambda: (issuer.token(KEY, **{TAGS: {"department": ["sales"]}}), hers),
    }[cause]()
    assert backend.ask(token, role).refusal == REFUSED
    asks, line = CAUSES[cause]
    line = line if isinstance(line, str) else line[gateway]
    assert issuer.asked == ([DISCOVERY, KEYS] if asks else [])
    eventually(lambda: line in backend.ceph.gateway_log[len(before) :])
    assert line.rstrip() in (ROOT / "docs" / "operations" / "ceph.md").read_text(), "what the page lists"


def eventually(condition: Callable[[], bool]) -> None:
    """A log is written behind the answer's back."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_issuer_that_is_down_looks_like_a_refusal_to_the_old_gateway(ceph: Ceph, old_ceph: Ceph):
    for gateway, refusal in ((ceph, INVALID), (old_ceph, REFUSED)):
        issuer = Issuer(CERTIFIED)
        backend, token = Backend(gateway, issuer), issuer.token(KEY)
        issuer.close()
        assert backend.ask(token).refusal == refusal


@pytest.mark.parametrize("form", ["of AWS", "flat"])
def test_session_tags_need_the_trust_policys_leave(form: str, backend: Backend):
    tags = {"department": ["engineering"]}
    if form == "of AWS":
        tags = {"principal_tags": tags, "transitive_tag_keys": ["department"]}
    token = backend.issuer.token(KEY, **{TAGS: tags})
    assert backend.ask(token).refusal == REFUSED
    with_tags = ("sts:AssumeRoleWithWebIdentity", "sts:TagSession")
    for value, refusal in (("engineering", (200, None)), ("sales", REFUSED)):
        policy = trust(backend.provider, with_tags, StringEquals={"aws:RequestTag/department": value})
        assert backend.ask(token, backend.role_with(policy)).refusal == refusal


def test_credentials_end_with_their_role(backend: Backend):
    s3, role_name = backend.ceph.client("s3", *backend.ask().keys), backend.role.rpartition("/")[2]
    s3.list_buckets()
    iam = backend.ceph.client("iam")
    iam.delete_role_policy(RoleName=role_name, PolicyName="permissions")
    iam.delete_role(RoleName=role_name)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_buckets()


def test_signed_assume_role_of_ceph(ceph: Ceph):
    policy = trust("nobody", ("sts:AssumeRole",))
    policy["Statement"][0]["Principal"] = {"AWS": ["arn:aws:iam:::user/administrator"]}
    role, sts = ceph.create_role(next(names), policy, permit("s3:*")), ceph.client("sts")
    keys = sts.assume_role(RoleArn=role, RoleSessionName="ada", ExternalId="tenant")["Credentials"]
    ceph.client("s3", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]).list_buckets()
    for client, arn, code in (
        (sts, "arn:aws:iam:::role/Nobody", "NoSuchEntity"),
        (ceph.client("sts", "NOBODY", "a secret"), role, "AccessDenied"),
    ):
        with pytest.raises(ClientError, match=code):
            client.assume_role(RoleArn=arn, RoleSessionName="ada")


# --- moto --------------------------------------------------------------------------------------

AWS_ROLE = "arn:aws:iam::111122223333:role/ReadOnly"


def test_moto_takes_any_web_identity_and_tells_what_it_got(moto: Moto):
    answer = assume_role(moto.endpoint, AWS_ROLE, "not a token", DurationSeconds="1")
    assert answer["Arn"] == "arn:aws:sts::111122223333:assumed-role/ReadOnly/ada"
    [call] = moto.calls("AssumeRoleWithWebIdentity")
    assert not call.is_signed
    assert call.fields["RoleArn"] == AWS_ROLE and call.fields["WebIdentityToken"] == "not a token"
    s3 = moto.client("s3", *answer.keys)
    s3.create_bucket(Bucket="a-bucket")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["a-bucket"]
    assert moto.client("sts", *answer.keys).get_caller_identity()["Arn"] == answer["Arn"]
    moto.reset()
    assert moto.calls("AssumeRoleWithWebIdentity") == [] and moto.client("s3").list_buckets()["Buckets"] == []


def test_moto_checks_signatures_when_it_is_told_to(moto: Moto):
    role = {"RoleArn": AWS_ROLE, "RoleSessionName": "ada"}
    assert moto.client("sts").assume_role(**role)["AssumedRoleUser"]["Arn"].endswith("/ReadOnly/ada")
    key, secret = moto.create_user("doorward", "sts:AssumeRole")
    idle = moto.create_user("idle", "s3:ListBuckets")
    moto.check_signatures()
    tags = [{"Key": "department", "Value": "engineering"}]
    assert moto.client("sts", key, secret).assume_role(**role, ExternalId="tenant", Tags=tags)["Credentials"]
    for keys, code in (
        (("NOBODY", "a secret"), "InvalidClientTokenId"),
        ((key, "another secret"), "SignatureDoesNotMatch"),
        (idle, "AccessDenied"),
    ):
        with pytest.raises(ClientError, match=code):
            moto.client("sts", *keys).assume_role(**role)
    calls = moto.calls("AssumeRole")
    assert len(calls) == 5 and all(call.is_signed for call in calls)
    assert calls[1].fields["ExternalId"] == "tenant" and calls[1].fields["Tags.member.1.Key"] == "department"
