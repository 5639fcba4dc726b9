"""A single-page application of another origin, in Chromium: what CORS lets it do, with keys of WebCrypto."""

from __future__ import annotations

import http.server
import json
import re
import threading
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from support.parties import SCRIPTS, register
from support.places import javascript_modules
from support.site import ADA, Site

TYPES = {".html": "text/html", ".mjs": "text/javascript", ".json": "application/json"}


@pytest.fixture
def page_of_shop(site: Site):
    """The application, on a port of its own."""
    files: dict[str, Path] = {
        "/": SCRIPTS / "spa" / "index.html",
        "/app.mjs": SCRIPTS / "spa" / "app.mjs",
        "/shop.mjs": SCRIPTS / "shop.mjs",
        "/oauth4webapi.mjs": javascript_modules() / "oauth4webapi" / "build" / "index.js",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            settings = json.dumps({"issuer": site.base}).encode()
            body = settings if path == "/settings.json" else files[path].read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", TYPES[Path(path).suffix or ".html"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


# Holds: rfc7009-2.3-cross-origin
def test_application_in_a_browser_signs_in_with_a_key_of_its_own(site: Site, page_of_shop: str, chromium: Browser):
    register(site)
    site.start()
    with chromium.new_context() as context:
        context.set_default_timeout(10_000)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(page_of_shop)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("User name").fill(ADA.user_name)
        page.get_by_label("Password").fill(ADA.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url(re.compile(re.escape(page_of_shop)))
        shown = page.locator("pre")
        expect(shown).not_to_be_empty()
        found = json.loads(shown.inner_text())
    assert "error" not in found, (found, said)
    assert found["info"]["sub"] == "ada" and found["info"]["name"] == "Ada L."
    assert (found["type"], found["retries"], found["extractable"]) == ("dpop", 1, False)
    status, challenge = found["bare"]
    assert status == 401 and 'error="invalid_token"' in challenge
    assert found["after"] == "invalid_grant"
    # Chromium reports every answer that is not a success; nothing else may be wrong.
    assert all("Failed to load resource" in text and re.search("40[01]", text) for text in said), said
