"""CreateTokenWithIAM through boto3, as docs/operations/iam.md shows it: with keys of the configuration, and with whatever
credentials moto's STS knows."""

from __future__ import annotations

import base64
import random
import string
import time
import uuid
from pathlib import Path

import boto3
import jwt
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from support.documents import blocks
from support.issuer import Issuer, Key
from support.moto import Moto
from support.places import ROOT
from support.presigned import PresignedSts
from support.site import Site

PAGE = ROOT / "docs" / "operations" / "iam.md"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
KEY = Key("corp")
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture
def issuer():
    issuer = Issuer(KEY.jwk())
    yield issuer
    issuer.close()


@pytest.fixture
def sts(moto: Moto):
    sts = PresignedSts(moto)
    yield sts
    sts.close()


@pytest.fixture
def running(site: Site, issuer: Issuer, sts: PresignedSts) -> Site:
    """A server with the page's configuration and directory, but for where the others are."""
    configuration, application = blocks(PAGE, "toml")
    configuration = configuration.replace("https://login.example.org/realms/corp", issuer.url)
    configuration = configuration.replace("https://sts.us-east-1.amazonaws.com", sts.url)
    site.configure(more=configuration)
    (site.folder / "deploy.key").write_text(SECRET + "\n")
    (site.folder / "deploy.key").chmod(0o600)
    with (site.folder / "directory.toml").open("a") as directory:
        directory.write(application)
    site.start()
    return site


@pytest.fixture
def assertion(issuer: Issuer):
    # Not of before ada was added to the directory: it could be about somebody else.
    return lambda **claims: issuer.token(
        KEY, **{"aud": "reports", "iat": int(time.time()) + 1, "jti": uuid.uuid4().hex, **claims}
    )


def run(example: str, site: Site, monkeypatch, credentials: dict[str, str], **names) -> dict:
    """Runs an example of the page with these credentials in the environment, and gives what it got."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    # A session keeps the credentials that it found first.
    boto3.setup_default_session()
    exec(compile(example.replace("https://sso.example.org", site.base), str(PAGE), "exec"), names)  # noqa: S102
    return names["answer"]


def said(token: str, site: Site) -> dict:
    key = jwt.PyJWKClient(f"{site.base}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    return jwt.decode(token, key.key, algorithms=["ES256"], options={"verify_aud": False}, issuer=site.base)


def keys(access_key: str, secret: str, token: str | None = None) -> dict[str, str]:
    given = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret}
    return given | ({"AWS_SESSION_TOKEN": token} if token else {})


def test_t73_a_key_of_the_configuration_gets_the_applications_tokens(running, assertion, monkeypatch):
    example, _ = blocks(PAGE, "python")
    answer = run(example, running, monkeypatch, keys(KEY_ID, SECRET), assertion=assertion())
    assert answer["tokenType"] == "Bearer"
    assert answer["issuedTokenType"] == "urn:ietf:params:oauth:token-type:refresh_token"
    assert answer["scope"] == ["aws", "email", "openid", "sts:identity_context"]
    token = said(answer["idToken"], running)
    assert (token["sub"], token["aud"].rpartition("/")[2]) == ("ada", "apl-0123456789abcdef")
    assert token["sts:identity_context"] == answer["awsAdditionalDetails"]["identityContext"]

    oidc = client(running)
    refreshed = oidc.create_token_with_iam(
        clientId="reports", grantType="refresh_token", refreshToken=answer["refreshToken"]
    )
    assert "idToken" not in refreshed and refreshed["refreshToken"] != answer["refreshToken"]


def client(site: Site, access_key: str = KEY_ID, secret: str = SECRET, region: str = "us-east-1", token: str | None = None):
    return boto3.client(
        "sso-oidc",
        region_name=region,
        endpoint_url=site.base,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=ONCE,
    )


def refused(oidc, **members) -> ClientError:
    with pytest.raises(ClientError) as refusal:
        oidc.create_token_with_iam(**{"clientId": "reports", "grantType": BEARER, **members})
    return refusal.value


def test_t72_t74_refusals_have_their_exceptions(running, assertion):
    for oidc, exception in [
        (client(running, secret="another secret"), "InvalidSignatureException"),
        (client(running, access_key="AKIANOBODYHASTHISONE"), "UnrecognizedClientException"),
        (client(running, region="eu-west-1"), "InvalidRequestRegionException"),
    ]:
        assert refused(oidc, assertion=assertion()).response["Error"]["Code"] == exception
    region = refused(client(running, region="eu-west-1"), assertion=assertion()).response
    assert (region["region"], region["endpoint"]) == ("us-east-1", running.base)
    assert refused(client(running), clientId="nobody", assertion=assertion()).response["Error"]["Code"] == "InvalidClientException"
    once = assertion()
    for bad in [assertion(aud="other"), assertion(sub="nobody"), issuer_of_nobody().token(KEY, aud="reports")]:
        assert refused(client(running), assertion=bad).response["Error"]["Code"] == "InvalidGrantException"
    client(running).create_token_with_iam(clientId="reports", grantType=BEARER, assertion=once)
    assert refused(client(running), assertion=once).response["Error"]["Code"] == "InvalidGrantException"
    with_token = client(running, token="a session token")
    with_token.create_token_with_iam(clientId="reports", grantType=BEARER, assertion=assertion())


def issuer_of_nobody():
    nobody = Issuer(KEY.jwk())
    nobody.close()
    return nobody


def test_an_sts_vouches_for_its_callers(running, moto, sts, assertion, monkeypatch):
    _, example = blocks(PAGE, "python")
    iam = moto.client("iam")
    iam.create_role(RoleName="Deploy", AssumeRolePolicyDocument="{}")
    role = "arn:aws:iam::111122223333:role/Deploy"
    assumed = moto.client("sts").assume_role(RoleArn=role, RoleSessionName="ci")["Credentials"]
    assumed = [assumed[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    sts.know(*assumed)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    credentials = keys(*assumed)
    answer = run(example, running, monkeypatch, credentials, assertion=assertion())
    assert said(answer["idToken"], running)["sub"] == "ada"

    # Somebody else's identity is known, too, and not named by the application.
    user, secret = moto.create_user("eve", "sts:*")
    sts.know(user, secret)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    with pytest.raises(ClientError) as refusal:
        run(example, running, monkeypatch, keys(user, secret), assertion=assertion())
    assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"

    # The STS does not take what was signed for another server.
    elsewhere = example.replace('"sso.example.org"', '"vault.example.org"')
    with pytest.raises(ClientError) as refusal:
        run(elsewhere, running, monkeypatch, credentials, assertion=assertion())
    assert refusal.value.response["Error"]["Code"] == "UnrecognizedClientException"


def test_what_botocore_signs_holds_and_no_change_of_it_does(running):
    """Requests of any shape, which come as far as the body, that is none."""
    chance = random.Random(20270110)
    credentials = Credentials(KEY_ID, SECRET)
    for number in range(60):
        headers = {"Content-Type": "application/json"}
        for _ in range(chance.randrange(4)):
            name = "X-" + "".join(chance.choices(string.ascii_letters + string.digits, k=6))
            headers[name] = " ".join("".join(chance.choices(string.ascii_letters + "!$'()*+;=/", k=5)) for _ in range(3))
        body = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 300)))
        request = AWSRequest("POST", f"{running.base}/token?aws_iam=t", headers=headers, data=body)
        token = "".join(chance.choices(string.ascii_letters + "+/=", k=40)) if number % 2 else None
        SigV4Auth(Credentials(KEY_ID, SECRET, token) if token else credentials, "sso-oauth", "us-east-1").add_auth(request)
        signed = dict(request.headers.items())

        def exception(headers: dict[str, str], data: bytes) -> str:
            answer = requests.post(f"{running.base}/token?aws_iam=t", data=data, headers=headers, timeout=20)
            assert 400 <= answer.status_code < 500 and answer.json()
            return answer.headers["x-amzn-ErrorType"]

        assert exception(signed, body) == "InvalidRequestException", signed
        assert exception(signed, body + b"x") == "InvalidSignatureException"
        changed = chance.choice([name for name in signed if name.lower() not in ("authorization", "x-amz-date")])
        assert exception({**signed, changed: signed[changed] + "x"}, body) == "InvalidSignatureException", changed
