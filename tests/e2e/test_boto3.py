"""boto3: every modelled error arrives as its own class, and the stock providers live on a Doorward login."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.api import CALLBACK, DEVICE_GRANT, SCOPE, Pkce, register_for_pkce
from support.home import PROFILE, Home
from support.person import Person
from support.server import Doorward

# One attempt: the error of the first answer is the matter. No validation: the server has to judge for itself.
ONCE = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
SDK = boto3.Session()


@pytest.fixture
def oidc(doorward: Doorward):
    return sso_oidc(doorward)


def sso_oidc(server: Doorward):
    return SDK.client("sso-oidc", endpoint_url=server.oidc_endpoint, region_name=server.region, config=ONCE)


def sso(server: Doorward):
    return SDK.client("sso", endpoint_url=server.portal_endpoint, region_name=server.region, config=ONCE)


def register(oidc, **members):
    return oidc.register_client(**{"clientName": "boto3", "clientType": "public", "scopes": [SCOPE], **members})


def credentials(registration) -> dict[str, str]:
    return {"clientId": registration["clientId"], "clientSecret": registration["clientSecret"]}


def start(oidc, server: Doorward, client: dict[str, str]):
    return oidc.start_device_authorization(**client, startUrl=server.alias)


def poll(oidc, client: dict[str, str], device_code: str):
    return oidc.create_token(**client, grantType=DEVICE_GRANT, deviceCode=device_code)


def envelope(raised, status: int, error: str) -> None:
    """The class is the caller's to check; the rest of the envelope is checked here."""
    answer = raised.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert answer["error"] == error and answer["error_description"]


# --- RegisterClient


def test_t01_t02_registration_has_the_modelled_members(oidc):
    answer = register(oidc)
    assert answer["clientId"] and answer["clientSecret"]
    assert answer["clientSecretExpiresAt"] - answer["clientIdIssuedAt"] == 7_776_000
    assert abs(answer["clientIdIssuedAt"] - time.time()) < 60


@pytest.mark.parametrize(
    ("members", "exception", "error"),
    [
        ({"clientType": "confidential"}, "InvalidClientMetadataException", "invalid_client_metadata"),
        ({"clientName": None}, "InvalidRequestException", "invalid_request"),
        ({"grantTypes": ["password"]}, "UnsupportedGrantTypeException", "unsupported_grant_type"),
        (
            {"grantTypes": ["authorization_code"], "scopes": [], "redirectUris": [CALLBACK]},
            "InvalidScopeException",
            "invalid_scope",
        ),
        (
            {"grantTypes": ["authorization_code"], "redirectUris": ["http://evil.example/cb"]},
            "InvalidRedirectUriException",
            "invalid_redirect_uri",
        ),
    ],
)
def test_registration_errors_have_their_class(oidc, members, exception, error):
    with pytest.raises(getattr(oidc.exceptions, exception)) as raised:
        register(oidc, **members)
    envelope(raised, 400, error)


# --- StartDeviceAuthorization


def test_t19_wrong_secret_is_an_invalid_client(oidc, doorward: Doorward):
    client = {**credentials(register(oidc)), "clientSecret": "wrong"}
    with pytest.raises(oidc.exceptions.InvalidClientException) as raised:
        start(oidc, doorward, client)
    envelope(raised, 401, "invalid_client")


def test_t18_unknown_start_url_is_an_invalid_request(oidc):
    with pytest.raises(oidc.exceptions.InvalidRequestException) as raised:
        oidc.start_device_authorization(**credentials(register(oidc)), startUrl="https://elsewhere.example/start")
    envelope(raised, 400, "invalid_request")


def test_client_without_the_device_grant_is_unauthorized(oidc, doorward: Doorward):
    client = credentials(register(oidc, grantTypes=["authorization_code", "refresh_token"], redirectUris=[CALLBACK]))
    with pytest.raises(oidc.exceptions.UnauthorizedClientException) as raised:
        start(oidc, doorward, client)
    envelope(raised, 400, "unauthorized_client")


# --- CreateToken


def test_t20_undecided_request_is_pending(oidc, doorward: Doorward):
    client = credentials(register(oidc))
    code = start(oidc, doorward, client)["deviceCode"]
    for _ in range(3):
        with pytest.raises(oidc.exceptions.AuthorizationPendingException) as raised:
            poll(oidc, client, code)
        envelope(raised, 400, "authorization_pending")


def test_t23_polling_too_fast_is_slowed_down_and_still_succeeds(oidc, doorward: Doorward, person: Person):
    client = credentials(register(oidc))
    request = start(oidc, doorward, client)
    with pytest.raises(oidc.exceptions.SlowDownException) as raised:
        for polls in range(100):
            try:
                poll(oidc, client, request["deviceCode"])
            except oidc.exceptions.AuthorizationPendingException:
                time.sleep(request["interval"] / 10)
    envelope(raised, 400, "slow_down")
    assert polls >= 3
    person.approve_device(request["verificationUriComplete"])
    doorward.advance_clock(30)
    assert poll(oidc, client, request["deviceCode"])["accessToken"]


def test_t26_denied_request_is_access_denied(oidc, doorward: Doorward, person: Person):
    client = credentials(register(oidc))
    request = start(oidc, doorward, client)
    person.deny_device(request["verificationUriComplete"])
    with pytest.raises(oidc.exceptions.AccessDeniedException) as raised:
        poll(oidc, client, request["deviceCode"])
    envelope(raised, 400, "access_denied")


def test_t27_old_request_is_an_expired_token(oidc, doorward: Doorward):
    client = credentials(register(oidc))
    request = start(oidc, doorward, client)
    doorward.advance_clock(request["expiresIn"] + 1)
    with pytest.raises(oidc.exceptions.ExpiredTokenException) as raised:
        poll(oidc, client, request["deviceCode"])
    envelope(raised, 400, "expired_token")


def test_t24_t25_device_code_works_once(oidc, doorward: Doorward, person: Person):
    client = credentials(register(oidc))
    request = start(oidc, doorward, client)
    person.approve_device(request["verificationUriComplete"])
    answer = poll(oidc, client, request["deviceCode"])
    assert answer["tokenType"] == "Bearer" and answer["expiresIn"] == 3600 and answer["refreshToken"]
    assert answer.get("idToken") is None
    with pytest.raises(oidc.exceptions.InvalidGrantException) as raised:
        poll(oidc, client, request["deviceCode"])
    envelope(raised, 400, "invalid_grant")


def test_token_errors_have_their_class(oidc, doorward: Doorward):
    """The refusals that need no person: one client, wrong in one way at a time."""
    client = credentials(register(oidc))
    errors = oidc.exceptions
    code = {"code": "x", "redirectUri": CALLBACK, "codeVerifier": "v" * 43}
    cases = [
        (errors.InvalidClientException, 401, "invalid_client", {"clientSecret": "wrong", "deviceCode": "x"}),
        (errors.InvalidClientException, 401, "invalid_client", {"clientId": "wrong", "deviceCode": "x"}),
        (errors.InvalidGrantException, 400, "invalid_grant", {"deviceCode": "unknown"}),
        (errors.InvalidGrantException, 400, "invalid_grant", {"grantType": "refresh_token", "refreshToken": "unknown"}),
        (errors.InvalidRequestException, 400, "invalid_request", {}),
        (errors.InvalidRequestException, 400, "invalid_request", {"grantType": "refresh_token"}),
        (errors.InvalidRequestException, 400, "invalid_request", {"grantType": None, "deviceCode": "x"}),
        (errors.UnsupportedGrantTypeException, 400, "unsupported_grant_type", {"grantType": "password"}),
    ]
    for exception, status, error, members in cases:
        with pytest.raises(exception) as raised:
            oidc.create_token(**{**client, "grantType": DEVICE_GRANT, **members})
        envelope(raised, status, error)

    device_only = credentials(register(oidc, grantTypes=[DEVICE_GRANT]))
    with pytest.raises(errors.UnauthorizedClientException) as raised:
        oidc.create_token(**device_only, grantType="authorization_code", **code)
    envelope(raised, 400, "unauthorized_client")


def test_t47_scope_narrows_and_never_widens(oidc, doorward: Doorward, person: Person):
    tokens = doorward.api.sign_in(person)
    refresh = {**tokens.client.members, "grantType": "refresh_token", "refreshToken": tokens.refresh}
    with pytest.raises(oidc.exceptions.InvalidScopeException) as raised:
        oidc.create_token(**refresh, scope=["sso:account:everything"])
    envelope(raised, 400, "invalid_scope")
    assert oidc.create_token(**refresh, scope=[SCOPE])["accessToken"]


def test_store_outage_is_an_internal_error_and_loses_nothing(oidc, doorward: Doorward, person: Person):
    tokens = doorward.api.sign_in(person)
    refresh = {**tokens.client.members, "grantType": "refresh_token", "refreshToken": tokens.refresh}
    pending = start(oidc, doorward, tokens.client.members)
    doorward.store_is("unavailable")
    for call in (
        lambda: oidc.create_token(**refresh),
        lambda: poll(oidc, tokens.client.members, pending["deviceCode"]),
        lambda: start(oidc, doorward, tokens.client.members),
    ):
        with pytest.raises(oidc.exceptions.InternalServerException) as raised:
            call()
        envelope(raised, 500, "server_error")
    doorward.store_is("none")
    assert oidc.create_token(**refresh)["refreshToken"]
    with pytest.raises(oidc.exceptions.AuthorizationPendingException):
        poll(oidc, tokens.client.members, pending["deviceCode"])


def test_t46_expired_registration_is_an_invalid_client(oidc, serve):
    server = serve("--registration-lifetime", "1800")
    oidc, person = sso_oidc(server), Person(server.people[0])
    tokens = server.api.sign_in(person)
    server.advance_clock(1801)
    with pytest.raises(oidc.exceptions.InvalidClientException) as raised:
        oidc.create_token(**tokens.client.members, grantType="refresh_token", refreshToken=tokens.refresh)
    envelope(raised, 401, "invalid_client")


@pytest.mark.parametrize("call", ["register_client", "start_device_authorization", "create_token"])
def test_t61_throttled_calls_are_slowed_down(serve, call):
    server = serve("--rate-limits")
    oidc = sso_oidc(server)
    client = credentials(register(oidc))
    calls = {
        "register_client": lambda: register(oidc),
        "start_device_authorization": lambda: start(oidc, server, client),
        "create_token": lambda: oidc.create_token(**client, grantType="refresh_token", refreshToken="unknown"),
    }
    with pytest.raises(oidc.exceptions.SlowDownException) as raised:
        for _ in range(3000):
            try:
                calls[call]()
            except oidc.exceptions.InvalidGrantException:
                pass
    envelope(raised, 400, "slow_down")


# --- PKCE


@pytest.fixture
def approved(doorward: Doorward, person: Person):
    """A client, its request, and the code that the person's approval brought."""
    client = register_for_pkce(doorward.api)
    request = Pkce(doorward.api, client)
    callback = person.decide(request.url, "Approve").callback
    assert callback["state"] == request.state
    return client, request, callback["code"]


def redeem(oidc, client, members):
    return oidc.create_token(**client.members, grantType="authorization_code", **members)


def test_t37_code_with_its_verifier_brings_tokens(oidc, approved):
    client, request, code = approved
    answer = redeem(oidc, client, request.members(code))
    assert answer["accessToken"] and answer["refreshToken"] and answer["tokenType"] == "Bearer"


@pytest.mark.parametrize(
    "wrong", [{"codeVerifier": "w" * 43}, {"redirectUri": "http://127.0.0.1:1/oauth/callback"}, {"code": "unknown"}]
)
def test_t38_code_without_its_proof_is_an_invalid_grant(oidc, approved, wrong):
    client, request, code = approved
    with pytest.raises(oidc.exceptions.InvalidGrantException) as raised:
        redeem(oidc, client, {**request.members(code), **wrong})
    envelope(raised, 400, "invalid_grant")


def test_t38_old_code_is_an_invalid_grant(oidc, approved, doorward: Doorward):
    client, request, code = approved
    doorward.advance_clock(601)
    with pytest.raises(oidc.exceptions.InvalidGrantException):
        redeem(oidc, client, request.members(code))


def test_t39_code_used_twice_revokes_what_it_brought(oidc, approved, doorward: Doorward):
    client, request, code = approved
    first = redeem(oidc, client, request.members(code))
    with pytest.raises(oidc.exceptions.InvalidGrantException) as raised:
        redeem(oidc, client, request.members(code))
    envelope(raised, 400, "invalid_grant")
    portal = sso(doorward)
    with pytest.raises(portal.exceptions.UnauthorizedException):
        portal.list_accounts(accessToken=first["accessToken"])
    with pytest.raises(oidc.exceptions.InvalidGrantException):
        oidc.create_token(**client.members, grantType="refresh_token", refreshToken=first["refreshToken"])


# --- Portal


def test_portal_errors_have_their_class(doorward: Doorward, person: Person):
    portal, access = sso(doorward), doorward.api.sign_in(person).access
    account, role = doorward.api.first_role(access)

    for call in (
        lambda: portal.list_accounts(accessToken="unknown"),
        lambda: portal.list_account_roles(accessToken="unknown", accountId=account),
        lambda: portal.get_role_credentials(accessToken="unknown", accountId=account, roleName=role),
    ):
        with pytest.raises(portal.exceptions.UnauthorizedException) as raised:
            call()
        assert raised.value.response["message"] == "Session token not found or invalid"
    for size in (0, 101):
        with pytest.raises(portal.exceptions.InvalidRequestException):
            portal.list_accounts(accessToken=access, maxResults=size)
    with pytest.raises(portal.exceptions.InvalidRequestException):
        portal.list_accounts(accessToken=access, nextToken="forged")
    with pytest.raises(portal.exceptions.InvalidRequestException):
        portal.get_role_credentials(accessToken=access, accountId=account, roleName=None)
    with pytest.raises(ClientError) as raised:
        portal.get_role_credentials(accessToken=access, accountId=account, roleName="NobodyHasThisRole")
    assert raised.value.response["Error"] == {"Code": "ForbiddenException", "Message": "No access"}
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_t61_throttled_portal_calls_are_too_many_requests(serve):
    server = serve("--rate-limits")
    portal, access = sso(server), server.api.sign_in(Person(server.people[0])).access
    with pytest.raises(portal.exceptions.TooManyRequestsException) as raised:
        for calls in range(5000):
            portal.list_accounts(accessToken=access)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert calls >= 100, "tools list their accounts in bursts of hundreds"


def test_t55_pages_list_every_account_once(doorward: Doorward, person: Person):
    portal, access = sso(doorward), doorward.api.sign_in(person).access
    whole = [each["accountId"] for each in portal.list_accounts(accessToken=access)["accountList"]]
    paginator = portal.get_paginator("list_accounts")
    pages = list(paginator.paginate(accessToken=access, PaginationConfig={"PageSize": 1}))
    assert [each["accountId"] for page in pages for each in page["accountList"]] == whole
    assert len(set(whole)) == len(whole) >= 2


def test_t59_t60_logout_ends_the_session_but_not_its_role_credentials(doorward: Doorward, person: Person):
    portal, tokens = sso(doorward), doorward.api.sign_in(person)
    account, role = doorward.api.first_role(tokens.access)
    given = portal.get_role_credentials(accessToken=tokens.access, accountId=account, roleName=role)["roleCredentials"]
    assert given["expiration"] > time.time() * 1000
    portal.logout(accessToken=tokens.access)
    doorward.api.assert_dead(tokens)
    caller = SDK.client(
        "sts",
        endpoint_url=doorward.oidc_endpoint,
        region_name=doorward.region,
        aws_access_key_id=given["accessKeyId"],
        aws_secret_access_key=given["secretAccessKey"],
        aws_session_token=given["sessionToken"],
    ).get_caller_identity()
    assert caller["Account"] == account
    assert caller["Arn"] == f"arn:aws:sts::{account}:assumed-role/{role}/{person.login.user_name}"


# --- The stock providers, in a process and a home of their own

PROVIDERS = """
import json, sys
import boto3
import botocore.session
from botocore.tokens import SSOTokenProvider

profile = sys.argv[1]
low = botocore.session.Session(profile=profile)
token = SSOTokenProvider(low, profile_name=profile).load_token().get_frozen_token().token
arn = boto3.Session(profile_name=profile).client("sts").get_caller_identity()["Arn"]
json.dump({"token": token, "arn": arn}, sys.stdout)
"""


def providers(home: Home) -> dict:
    command = [sys.executable, "-c", PROVIDERS, PROFILE]
    done = subprocess.run(command, env=home.environment, cwd=home.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_profile_refreshes_its_token_and_brings_role_credentials(home: Home, doorward: Doorward, person: Person):
    home.write_token(doorward.api.sign_in(person))
    fresh = providers(home)
    assert fresh["token"] == home.token()["accessToken"]
    assert fresh["arn"].endswith(f"/{person.login.user_name}")

    # Less than fifteen minutes: refreshed once, written back, and the refresh token with it.
    for _ in range(2):
        before = home.leave_minutes(12)
        refreshed, after = providers(home), home.token()
        assert refreshed["token"] == after["accessToken"] != before["accessToken"]
        assert after["refreshToken"] and refreshed["arn"] == fresh["arn"]
