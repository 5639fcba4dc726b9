"""The APIs as bare HTTP, for what no SDK would send, and for speed: one kept connection, no retries."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "sso:account:access"
CALLBACK = "http://127.0.0.1/oauth/callback"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> dict:
        return json.loads(self.text) if self.text else {}

    @property
    def error(self) -> str:
        """The exception's name, cut as every SDK cuts it."""
        return self.headers.get("x-amzn-errortype", "").split(":")[0].split("#")[0]


@dataclass(frozen=True)
class Client:
    id: str
    secret: str
    secret_expires_at: int = 0

    @property
    def members(self) -> dict[str, str]:
        return {"clientId": self.id, "clientSecret": self.secret}


@dataclass
class Tokens:
    client: Client
    access: str
    refresh: str | None
    expires_in: int


class Api:
    timeout = 20

    def __init__(self, oidc_endpoint: str, portal_endpoint: str, start_url: str):
        self.oidc_endpoint, self.portal_endpoint, self.start_url = oidc_endpoint, portal_endpoint, start_url
        self._local = threading.local()

    # --- HTTP

    def post(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        payload = b"" if body is None else json.dumps(body).encode()
        typed = {} if body is None else {"Content-Type": "application/json"}
        return self.call("POST", self.oidc_endpoint + path, payload, {**typed, **(headers or {})})

    def call(self, method: str, url: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        parts = urlsplit(url)
        connection = self._connection(parts.netloc)
        target = parts.path + ("?" + parts.query if parts.query else "")
        try:
            connection.request(method, target, payload, headers or {})
            response = connection.getresponse()
            text = response.read().decode()
        except BaseException:
            connection.close()
            raise
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)

    def _connection(self, netloc: str) -> http.client.HTTPConnection:
        """One connection per thread and host; http.client opens it again when the server closed it."""
        kept = self._local.__dict__.setdefault("kept", {})
        if netloc not in kept:
            kept[netloc] = http.client.HTTPConnection(netloc, timeout=self.timeout)
        return kept[netloc]

    # --- sso-oidc

    def register(self, **members) -> Client:
        body = ok(self.post("/client/register", {"clientName": "e2e", "clientType": "public", "scopes": [SCOPE], **members}))
        return Client(body["clientId"], body["clientSecret"], body["clientSecretExpiresAt"])

    def start_device(self, client: Client) -> dict:
        return ok(self.post("/device_authorization", {**client.members, "startUrl": self.start_url}))

    def token(self, client: Client, grant: str, **members) -> Answer:
        return self.post("/token", {**client.members, "grantType": grant, **members})

    def poll(self, client: Client, device_code: str) -> Answer:
        return self.token(client, DEVICE_GRANT, deviceCode=device_code)

    def refresh(self, tokens: Tokens, refresh_token: str | None = None) -> Answer:
        return self.token(tokens.client, "refresh_token", refreshToken=refresh_token or tokens.refresh)

    def sign_in_approved(self, client: Client | None = None) -> Tokens:
        """A device login against a server that was started with --auto-approve."""
        client = client or self.register()
        return tokens(client, self.poll(client, self.start_device(client)["deviceCode"]))

    def sign_in(self, person) -> Tokens:
        """A device login that a person approves in their browser."""
        client = self.register()
        request = self.start_device(client)
        person.approve_device(request["verificationUriComplete"])
        deadline = time.monotonic() + 5
        while (answer := self.poll(client, request["deviceCode"])).error == "AuthorizationPendingException":
            assert time.monotonic() < deadline, "approved, and still pending"
            time.sleep(0.2)
        return tokens(client, answer)

    # --- portal

    def portal(self, path: str, access_token: str, method: str = "GET", **query) -> Answer:
        url = self.portal_endpoint + path + ("?" + urlencode(query) if query else "")
        return self.call(method, url, headers={"x-amz-sso_bearer_token": access_token})

    def accounts(self, access_token: str) -> Answer:
        return self.portal("/assignment/accounts", access_token)

    def first_role(self, access_token: str) -> tuple[str, str]:
        """An account and a role that the token's person really has."""
        account = ok(self.accounts(access_token))["accountList"][0]["accountId"]
        roles = ok(self.portal("/assignment/roles", access_token, account_id=account))["roleList"]
        return account, roles[0]["roleName"]

    def logout(self, access_token: str) -> Answer:
        return self.portal("/logout", access_token, method="POST")

    def assert_dead(self, tokens: Tokens) -> None:
        """The session is over: for the portal, and for a refresh."""
        listing = self.accounts(tokens.access)
        assert (listing.status, listing.error) == (401, "UnauthorizedException"), listing
        assert_refused_refresh(self.refresh(tokens))


def assert_refused_refresh(answer: Answer) -> None:
    assert (answer.status, answer.error) == (400, "InvalidGrantException"), answer
    assert answer.body["error"] == "invalid_grant"
    assert answer.body["error_description"] == "Invalid refresh token provided"


def ok(answer: Answer) -> dict:
    assert answer.status == 200, f"{answer.status} {answer.error} {answer.text}"
    return answer.body


def tokens(client: Client, answer: Answer) -> Tokens:
    body = ok(answer)
    return Tokens(client, body["accessToken"], body.get("refreshToken"), body["expiresIn"])


class Pkce:
    """One authorization request of a tool that listens on loopback."""

    def __init__(self, api: Api, client: Client, port: int = 45343, **overrides: str):
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_hex(16)
        self.redirect_uri = f"http://127.0.0.1:{port}/oauth/callback"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge_method": "S256",
            "scopes": SCOPE,
            "code_challenge": challenge,
            **overrides,
        }
        self.url = f"{api.oidc_endpoint}/authorize?{urlencode(query)}"

    def members(self, code: str) -> dict[str, str]:
        return {"code": code, "codeVerifier": self.verifier, "redirectUri": self.redirect_uri}


def register_for_pkce(api: Api) -> Client:
    return api.register(grantTypes=["authorization_code", "refresh_token"], redirectUris=[CALLBACK], issuerUrl=api.start_url)
