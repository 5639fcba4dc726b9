"""An application of the development server: what it asks browsers and the token endpoint."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

AFTERWARDS = "http://127.0.0.1/"


@dataclass(frozen=True)
class Told:
    status: int
    body: dict


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b"<!DOCTYPE html><title>App</title><h1>Back at the application</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_) -> None:
        pass


class Application:
    """`demo-web`, whose secret is public, with a page for those who come back."""

    client_id, secret = "demo-web", "demo-web-secret"

    def __init__(self, base: str):
        self.base, self.verifier, self.state = base, secrets.token_urlsafe(48), secrets.token_urlsafe()
        hashed = hashlib.sha256(self.verifier.encode()).digest()
        self._pages = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
        self.callback = f"http://127.0.0.1:{self._pages.server_port}/callback"
        threading.Thread(target=self._pages.serve_forever, daemon=True).start()
        self.challenge = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()

    def close(self) -> None:
        self._pages.shutdown()
        self._pages.server_close()

    def authorize(self, **more: str) -> str:
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.callback,
            "scope": "openid orders:read",
            "state": self.state,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self.base}/authorize?{urlencode(asked)}"

    def answer(self, url: str) -> dict[str, str]:
        """What the browser brought back."""
        assert url.startswith(f"{self.callback}?"), url
        answer = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert (answer.pop("state"), answer.pop("iss")) == (self.state, self.base)
        return answer

    def tokens(self, code: str) -> dict:
        told = self.token(grant_type="authorization_code", code=code, redirect_uri=self.callback, code_verifier=self.verifier)
        assert told.status == 200, told
        return told.body

    def refresh(self, token: str) -> Told:
        return self.token(grant_type="refresh_token", refresh_token=token)

    def token(self, **fields: str) -> Told:
        credentials = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {credentials}"}
        connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=20)
        try:
            connection.request("POST", "/token", urlencode(fields), headers)
            response = connection.getresponse()
            return Told(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def sign_out(self, **more: str) -> str:
        return f"{self.base}/oauth/logout?{urlencode(more)}"
