"""Applications and APIs that are written with the libraries that people write them with."""

from __future__ import annotations

import secrets
import ssl
import subprocess
from pathlib import Path

import jwt
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from support.documents import blocks
from support.parties import API, CALLBACK, SECRETS, SHOP, STOCK, Shopper, play, register
from support.places import ROOT, await_port, free_port, javascript_modules, tool
from support.site import Site, certificate


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """One server with all applications."""
    site = Site(tmp_path_factory.mktemp("shops"))
    register(site)
    site.start()
    yield site
    site.kill()
    print(site.log.read_text()[-4000:])


@pytest.fixture(scope="module")
def ada() -> Shopper:
    """One browser, which stays signed in: passwords may be tried only so often."""
    return Shopper()


# Holds: openid-connect-core-10.1-keys-published
def test_keys_are_published_before_the_first_token(site: Site):
    """Many libraries fetch them once, when the application starts."""
    register(site)
    site.start()
    keys = site.api.call("GET", site.base + "/.well-known/jwks.json").body["keys"]
    assert {key["alg"] for key in keys} == {"ES256", "RS256", "EdDSA"}


OPENID_CLIENT = [
    "code",
    "mixed_up",
    "refresh",
    "introspection_and_revocation",
    "device",
    "client_credentials",
    "pushed",
    "token_exchange",
    "sign_out",
]


# Holds: oidcc-scope-email, oidcc-scope-profile, oidcc-server, oidcc-server-client-secret-post, oidcc-userinfo-get
# Holds: rfc7009-2-access-tokens, rfc7009-2-refresh-tokens, rfc7009-2.2-invalid-is-200, rfc7662-2.2-active
# Holds: rfc7662-2.2-inactive-says-nothing, rfc7662-4-other-resources, rfc8693-2.2.1-members
# Holds: rfc8693-2.2.2-invalid-request, rfc8693-2.2.2-invalid-target, rfc8693-4.1-act, rfc9126-2-authentication
# Holds: rfc9126-2.2-created, rfc9126-5-metadata, rfc9207-2-iss-in-error, rfc9207-2-iss-in-success
# Holds: rfc9207-2.3-same-as-metadata, rp-initiated-logout-2.1-metadata, rp-initiated-logout-3-after-logout
# Holds: rp-initiated-logout-3-state
@pytest.mark.parametrize("scenario", OPENID_CLIENT)
def test_openid_client(shops: Site, ada: Shopper, scenario: str):
    play("openid-client.mjs", scenario, shops, ada)


# Holds: rfc9449-4.3-same-key, rfc9449-5-token-type, rfc9449-5-refresh-public, rfc9449-6.1-cnf, rfc9449-7.1-scheme
# Holds: rfc9449-7.2-no-bearer, rfc9449-8-use-nonce, rfc9449-10-dpop-jkt
@pytest.mark.parametrize("scenario", ["bound", "stolen"])
def test_oauth4webapi(shops: Site, ada: Shopper, scenario: str):
    play("oauth4webapi.mjs", scenario, shops, ada)


# Holds: rfc9068-2.1-typ, rfc9068-2.2-required-claims, rfc9068-3-default-aud, rfc9068-4-keys-published
# Holds: rfc9068-5-not-an-id-token
def test_jose_verifies_access_tokens_and_nothing_else(shops: Site, ada: Shopper):
    play("jose.mjs", "api", shops, ada)


def test_authlib_and_pyjwt(shops: Site, ada: Shopper):
    server = shops.api.call("GET", shops.base + "/.well-known/openid-configuration").body
    scope = "openid profile orders:read"
    with OAuth2Session("web", SECRETS["web"], scope=scope, redirect_uri=CALLBACK, code_challenge_method="S256") as shop:
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        url, state = shop.create_authorization_url(server["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
        answer = ada.authorize(url)
        redeem = {"authorization_response": answer, "state": state, "code_verifier": verifier}
        token = shop.fetch_token(server["token_endpoint"], **redeem)
        assert set(token["scope"].split()) == set(scope.split())
        # It sends the token along by itself.
        assert shop.get(server["userinfo_endpoint"]).json()["name"] == "Ada L."

        keys = jwt.PyJWKClient(server["jwks_uri"])

        def verify(text: str, audience: str, typ: str, algorithms: list[str] = ["ES256"]) -> dict:
            required = {"require": ["exp", "iat", "iss", "sub", "aud"]}
            key = keys.get_signing_key_from_jwt(text)
            read = jwt.decode_complete(text, key, algorithms, required, audience=audience, issuer=server["issuer"])
            assert read["header"]["typ"] == typ
            return read["payload"]

        claims = verify(token["id_token"], "web", "JWT")
        assert (claims["sub"], claims["nonce"]) == ("ada", nonce)
        access = verify(token["access_token"], API, "at+jwt")
        assert (access["sub"], access["client_id"], access["auth_time"]) == ("ada", "web", claims["auth_time"])
        for audience in (STOCK, "web"):
            with pytest.raises(jwt.InvalidAudienceError):
                verify(token["access_token"], audience, "at+jwt")

        before = dict(token)
        token = shop.refresh_token(server["token_endpoint"])
        assert token["refresh_token"] != before["refresh_token"]
        told = shop.introspect_token(server["introspection_endpoint"], token=token["refresh_token"]).json()
        assert told["active"] and told["client_id"] == "web"
        assert shop.revoke_token(server["revocation_endpoint"], token=token["refresh_token"]).status_code == 200
        told = shop.introspect_token(server["introspection_endpoint"], token=token["access_token"]).json()
        assert told == {"active": False}
        with pytest.raises(OAuthError, match="invalid_grant"):
            shop.refresh_token(server["token_endpoint"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            shop.fetch_token(server["token_endpoint"], **redeem)


# --- The manual's own examples, as they stand there but for the addresses


@pytest.fixture
def secured(tmp_path: Path, monkeypatch):
    """A server whose certificate every library here trusts."""
    site = Site(tmp_path)
    register(site)
    certificate(site.folder, "sso.example.org")
    site.configure('[tls]\ncertificate = "chain.pem"\nkey = "key.pem"\n', scheme="https")
    for variable in ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(site.folder / "chain.pem"))
    monkeypatch.setenv("SHOP_SECRET", SECRETS["web"])
    monkeypatch.setenv("SESSION_KEY", secrets.token_hex(16))
    site.start()
    yield site
    site.kill()
    print(site.log.read_text()[-4000:])


def documented(language: str, site: Site, shop: str) -> list[str]:
    addresses = {"https://sso.example.org": f"https://127.0.0.1:{site.port}", "https://shop.example.org": shop}
    found = blocks(ROOT / "docs" / "operations" / "relying-parties.md", language)
    for here, there in addresses.items():
        found = [block.replace(here, there) for block in found]
    return found


def test_documented_applications_in_javascript(secured: Site, ada: Shopper):
    port, folder = free_port(), secured.folder / "shop"
    shop, api = documented("js", secured, f"http://127.0.0.1:{port}")
    folder.mkdir()
    (folder / "node_modules").symlink_to(javascript_modules())
    # It shows the test, beside what people see, its tokens.
    shop = shop.replace("3000", str(port)).replace("`Hello, ", "`${tokens.access_token} ${tokens.id_token} Hello, ")
    (folder / "shop.mjs").write_text(shop)
    (folder / "api.mjs").write_text(api)
    person = Shopper(ssl.create_default_context())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([tool("node"), "shop.mjs"], cwd=folder, stdout=log, stderr=log)
    try:
        await_port(port, process, (folder / "log").read_text)
        leaving = person.open(f"http://127.0.0.1:{port}/sign-in")
        page = person.open(person.authorize(leaving.location))
        access, identity, said = page.html.split(" ", 2)
        assert (page.status, said) == (200, "Hello, Ada L.")
        # A browser that did not leave does not come back.
        stranger = Shopper(ssl.create_default_context())
        assert stranger.open(person.authorize(leaving.location)).status == 400
    finally:
        process.kill()
        process.wait()

    def whose(token: str, scope: str) -> str:
        script = "const { whose } = await import('./api.mjs'); console.log(await whose(...process.argv.slice(1)));"
        command = [tool("node"), "--input-type=module", "-e", script, token, scope]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() or done.stderr

    assert whose(access, "orders:read") == "ada"
    assert "insufficient_scope" in whose(access, "orders:write")
    assert "ERR_JWT_CLAIM_VALIDATION_FAILED" in whose(identity, "orders:read")


def test_documented_applications_in_python(secured: Site):
    shop, api = documented("python", secured, "")
    application, verifier = {"__name__": "shop"}, {}
    exec(shop, application)
    exec(api, verifier)
    application["app"].testing = True
    browser, person = application["app"].test_client(), Shopper(ssl.create_default_context())
    leaving = browser.get("/sign-in", base_url=SHOP)
    callback = person.authorize(leaving.location)
    assert browser.get("/", base_url=SHOP).text == "Hello, stranger"
    with browser:
        assert browser.get(callback, base_url=SHOP).status_code == 302
        tokens = application["shop"].token
    assert browser.get("/", base_url=SHOP).text == "Hello, ada"
    # A browser that did not leave does not come back.
    with pytest.raises(OAuthError, match="mismatching_state"):
        application["app"].test_client().get(callback, base_url=SHOP)

    whose = verifier["whose"]
    assert whose(tokens["access_token"], "orders:read") == "ada"
    with pytest.raises(PermissionError):
        whose(tokens["access_token"], "orders:write")
    with pytest.raises(jwt.InvalidAudienceError):
        whose(tokens["id_token"], "orders:read")
