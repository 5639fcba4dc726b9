"""Applications, and the JavaScript that they are written in.

Each scenario of a script under js/ is a program of its own. Where it needs somebody in front of a browser it writes a line
that says what they are to do, and reads where that left them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from .person import Page, Person
from .places import javascript_modules, tool
from .site import ADA, Site

SCRIPTS = Path(__file__).parents[1] / "js"
WITHIN = 60
API = "https://orders.example.org"
STOCK = "https://stock.example.org"
SHOP = "http://127.0.0.1:45343"
CALLBACK, SIGNED_OUT = f"{SHOP}/signed-in", f"{SHOP}/signed-out"
# With characters that have to be encoded, which Authlib alone does not do.
SECRETS = {name: f"the secret of {name}, 100% & more" for name in ("post", "orders", "stock", "robot")}
SECRETS["web"] = secrets.token_urlsafe(32)
# What `pushing` signs with; the directory has the public half.
SIGNER = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))

APPLICATIONS = """
[[scopes]]
name = "orders:read"
description = "see your orders"

[[scopes]]
name = "stock:read"
description = "see what is in stock"

[[applications]]
client_id = "web"
name = "Shop"
secret_hashes = ["{web}"]
redirect_uris = ["http://127.0.0.1/signed-in"]
post_logout_redirect_uris = ["http://127.0.0.1:45343/signed-out"]
grants = ["authorization_code", "refresh_token"]
scopes = ["openid", "profile", "email", "groups", "offline_access", "orders:read"]
audiences = ["https://orders.example.org"]
everybody = true

[[applications]]
client_id = "post"
name = "Shop for another language"
authentication = "client_secret_post"
secret_hashes = ["{post}"]
redirect_uris = ["http://127.0.0.1/signed-in"]
grants = ["authorization_code", "refresh_token"]
scopes = ["openid", "profile", "email", "orders:read"]
audiences = ["https://orders.example.org", "https://stock.example.org"]
signing_algorithm = "RS256"
everybody = true

[[applications]]
client_id = "pushing"
name = "Bank"
authentication = "private_key_jwt"
redirect_uris = ["http://127.0.0.1/signed-in"]
grants = ["authorization_code", "refresh_token"]
scopes = ["openid", "orders:read"]
audiences = ["https://orders.example.org"]
signing_algorithm = "EdDSA"
require_pushed_authorization_requests = true
consent = false
everybody = true
keys = [{{ kty = "EC", crv = "P-256", x = "{x}", y = "{y}" }}]

[[applications]]
client_id = "spa"
name = "Shop in the browser"
authentication = "none"
redirect_uris = ["http://127.0.0.1/signed-in", "http://127.0.0.1/"]
grants = ["authorization_code", "refresh_token"]
scopes = ["openid", "profile", "orders:read"]
audiences = ["https://orders.example.org"]
dpop_bound_access_tokens = true
everybody = true

[[applications]]
client_id = "tv"
name = "Shop on the television"
authentication = "none"
grants = ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
scopes = ["openid", "profile", "orders:read"]
audiences = ["https://orders.example.org"]
everybody = true

[[applications]]
client_id = "robot"
name = "Nightly export"
secret_hashes = ["{robot}"]
grants = ["client_credentials"]
scopes = ["orders:read"]
audiences = ["https://orders.example.org"]

[[applications]]
client_id = "orders"
name = "Orders"
secret_hashes = ["{orders}"]
resource = "https://orders.example.org"
grants = ["urn:ietf:params:oauth:grant-type:token-exchange"]
scopes = ["orders:read", "stock:read"]
consent = false
everybody = true

[applications.token_exchange]
subjects_of = ["web"]
audiences = ["https://stock.example.org"]

[[applications]]
client_id = "stock"
name = "Stock"
secret_hashes = ["{stock}"]
resource = "https://stock.example.org"
grants = []
scopes = ["stock:read"]
"""


def register(site: Site) -> None:
    """Writes the applications into the directory of a site, which Ada is in, with an address of hers."""
    hashes = {name: "sha256:" + hashlib.sha256(secret.encode()).hexdigest() for name, secret in SECRETS.items()}
    file = site.folder / "directory.toml"
    people = file.read_text().replace('user_name = "ada"\n', 'user_name = "ada"\ndisplay_name = "Ada L."\nemail = "ada@example.org"\n')
    file.write_text(people + APPLICATIONS.format(**hashes, x=SIGNER["x"], y=SIGNER["y"]))


class Shopper(Person):
    """Somebody who uses applications, and finds again in the address bar where they left the browser."""

    def __init__(self, trust: ssl.SSLContext | None = None):
        super().__init__(ADA, trust)

    def authorize(self, url: str) -> str:
        page: Page = self.decide(url, "Approve")
        assert page.location, page
        return page.location

    def deny(self, url: str) -> str:
        return self.decide(url, "Deny").location

    def device(self, url: str) -> str:
        return self.approve_device(url).url

    def sign_out(self, url: str) -> str:
        page = self.arrive(url)
        if not page.location:
            page = self.press(page, "Sign out")
        return page.location or page.url


def play(script: str, scenario: str, site: Site, person: Shopper, **more: str) -> dict:
    """Runs a scenario to its end, and returns what it says it found."""
    facts = {"modules": str(javascript_modules()), "scenario": scenario, "issuer": site.base, "secrets": SECRETS, **more}
    facts |= {"callback": CALLBACK, "signedOut": SIGNED_OUT, "api": API, "stock": STOCK, "signer": SIGNER}
    log = site.folder / f"{script}-{scenario}.log"
    command = [tool("node"), str(SCRIPTS / script), json.dumps(facts)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    found: dict = {}
    try:
        for line in process.stdout:
            ((what, value),) = json.loads(line).items()
            if what == "found":
                found = value
                continue
            assert urlsplit(value).netloc == urlsplit(site.base).netloc, f"sends people elsewhere: {value}"
            process.stdin.write(getattr(person, what)(value) + "\n")
            process.stdin.flush()
        process.wait(timeout=WITHIN)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert process.returncode == 0, f"{script} {scenario}:\n{log.read_text()}"
    return found
