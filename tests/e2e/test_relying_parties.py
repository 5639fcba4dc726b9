"""Applications and APIs that are written with the libraries that people write them with."""

from __future__ import annotations

import secrets

import jwt
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from support.parties import API, CALLBACK, SECRETS, STOCK, Shopper, play, register
from support.site import Site


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """One server with all applications. Each test signs in for itself."""
    site = Site(tmp_path_factory.mktemp("shops"))
    register(site)
    site.start()
    yield site
    site.kill()
    print(site.log.read_text()[-4000:])


@pytest.fixture
def ada() -> Shopper:
    return Shopper()


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


@pytest.mark.parametrize("scenario", OPENID_CLIENT)
def test_openid_client(shops: Site, ada: Shopper, scenario: str):
    play("openid-client.mjs", scenario, shops, ada)


@pytest.mark.parametrize("scenario", ["bound", "stolen"])
def test_oauth4webapi(shops: Site, ada: Shopper, scenario: str):
    play("oauth4webapi.mjs", scenario, shops, ada)


def test_jose_verifies_access_tokens_and_nothing_else(shops: Site, ada: Shopper):
    play("jose.mjs", "api", shops, ada)


def test_authlib_and_pyjwt(shops: Site, ada: Shopper):
    server = shops.api.call("GET", shops.base + "/.well-known/openid-configuration").body
    scope = "openid profile orders:read"
    with OAuth2Session("python", SECRETS["python"], scope=scope, redirect_uri=CALLBACK, code_challenge_method="S256") as shop:
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

        claims = verify(token["id_token"], "python", "JWT")
        assert (claims["sub"], claims["nonce"]) == ("ada", nonce)
        access = verify(token["access_token"], API, "at+jwt")
        assert (access["sub"], access["client_id"], access["auth_time"]) == ("ada", "python", claims["auth_time"])
        for audience in (STOCK, "python"):
            with pytest.raises(jwt.InvalidAudienceError):
                verify(token["access_token"], audience, "at+jwt")

        before = dict(token)
        token = shop.refresh_token(server["token_endpoint"])
        assert token["refresh_token"] != before["refresh_token"]
        told = shop.introspect_token(server["introspection_endpoint"], token=token["refresh_token"]).json()
        assert told["active"] and told["client_id"] == "python"
        assert shop.revoke_token(server["revocation_endpoint"], token=token["refresh_token"]).status_code == 200
        told = shop.introspect_token(server["introspection_endpoint"], token=token["access_token"]).json()
        assert told == {"active": False}
        with pytest.raises(OAuthError, match="invalid_grant"):
            shop.refresh_token(server["token_endpoint"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            shop.fetch_token(server["token_endpoint"], **redeem)
