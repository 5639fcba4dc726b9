"""Anonymous traffic leaves nothing behind: registrations are sealed into the client's own secret."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

CALLS, CONNECTIONS, IN_FLIGHT = 100_000, 4, 25


def size(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


def register(host: str, calls: int) -> int:
    """Registers over one kept connection, some requests ahead of their answers: a plain client would be the bottleneck."""
    body = json.dumps({"clientName": "e2e", "clientType": "public", "scopes": ["sso:account:access"]}).encode()
    head = f"POST /client/register HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    name, port = host.split(":")
    answered = 0
    with socket.create_connection((name, int(port)), timeout=30) as connection, connection.makefile("rb") as reader:
        while answered < calls:
            ahead = min(IN_FLIGHT, calls - answered)
            connection.sendall(request * ahead)
            for _ in range(ahead):
                status = reader.readline()
                assert status.startswith(b"HTTP/1.1 200 "), status
                length = 0
                while (line := reader.readline()) != b"\r\n":
                    if line[:15].lower() == b"content-length:":
                        length = int(line[15:])
                answer = reader.read(length)
                assert b'"clientSecret"' in answer, answer
                answered += 1
    return answered


# Holds: ledger-40
def test_100_000_registrations_leave_the_data_directory_as_it_was(serve, tmp_path: Path):
    data = tmp_path / "data"
    server = serve("--data-dir", str(data))
    server.api.register()
    before = size(data)
    assert before, "the data directory is empty"

    host = urlsplit(server.oidc_endpoint).netloc
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        answered = list(pool.map(register, [host] * CONNECTIONS, [CALLS // CONNECTIONS] * CONNECTIONS))

    assert sum(answered) == CALLS
    assert size(data) == before
