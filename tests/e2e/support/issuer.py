"""An issuer of web identity tokens that can be told to be wrong."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import ssl
import threading
import time
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/.well-known/jwks.json"


class Key:
    """A signing key, and a certificate that it signed for itself."""

    def __init__(self, kid: str, algorithm: str = "RS256"):
        self.kid, self.algorithm = kid, algorithm
        elliptic = algorithm == "ES256"
        self.private = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kid)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = x509.CertificateBuilder(name, name, self.private.public_key(), x509.random_serial_number())
        certificate = certificate.not_valid_before(now - datetime.timedelta(hours=1))
        self.certificate = certificate.not_valid_after(now + datetime.timedelta(days=1)).sign(self.private, hashes.SHA256())

    @property
    def thumbprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA1()).hex()

    def jwk(self, with_certificate: bool = False) -> dict:
        public = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        public = {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}
        public.pop("key_ops", None)
        if with_certificate:
            public["x5c"] = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        return public


class Issuer:
    """Serves discovery and a key set on loopback, and signs with any key."""

    audience = "a backend"

    def __init__(self, *keys: dict, tls: Path | None = None):
        """`tls` is a folder with `chain.pem` and `key.pem`."""
        self.keys, self.asked = list(keys), []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                documents = {
                    DISCOVERY: {"issuer": issuer.url, "jwks_uri": issuer.url + KEYS},
                    KEYS: {"keys": issuer.keys},
                }
                body = json.dumps(documents.get(self.path)).encode()
                self.send_response(200 if self.path in documents else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "chain.pem", tls / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def token(self, key: Key, **claims) -> str:
        """A good token for Ada, but for these claims; one that is None is left out."""
        now = int(time.time())
        good = {"iss": self.url, "sub": "ada", "aud": self.audience, "iat": now - 30, "exp": now + 270}
        claims = {name: value for name, value in {**good, **claims}.items() if value is not None}
        return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
