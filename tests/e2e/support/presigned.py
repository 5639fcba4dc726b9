"""The way to moto's STS by presigned requests, which moto itself neither routes nor checks."""

from __future__ import annotations

import http.server
import threading
import urllib.parse

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .moto import Moto


class PresignedSts:
    """Checks the signature, headers included, with the secrets that it was told, and has moto say who that is."""

    def __init__(self, moto: Moto):
        self.known: dict[str, Credentials] = {}
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                who = front.signer(self.path, self.headers)
                body = b"<ErrorResponse/>"
                if who:
                    arn = moto.client("sts", who.access_key, who.secret_key, who.token).get_caller_identity()["Arn"]
                    body = f"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>".encode()
                self.send_response(200 if who else 403)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def know(self, access_key: str, secret: str, token: str | None = None) -> None:
        self.known[access_key] = Credentials(access_key, secret, token)

    def signer(self, path: str, headers) -> Credentials | None:
        signed_path, _, presented = path.partition("&X-Amz-Signature=")
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(signed_path).query))
        access_key, _, region, service, _ = query["X-Amz-Credential"].split("/")
        if access_key not in self.known:
            return None
        signed = query["X-Amz-SignedHeaders"].split(";")
        request = AWSRequest("GET", self.url + signed_path, headers={name: headers[name] or "" for name in signed})
        request.context["timestamp"] = query["X-Amz-Date"]
        auth = SigV4QueryAuth(self.known[access_key], service, region)
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return self.known[access_key] if signature == presented else None

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
