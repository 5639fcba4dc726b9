"""Applications and APIs that are written with the libraries that people write them with."""

from __future__ import annotations

import pytest

from support.parties import Shopper, play, register
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
