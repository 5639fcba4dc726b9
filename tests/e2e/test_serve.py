"""`doorward serve` and `doorward check`: configuration, TLS, proxies, and an end that loses nothing."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from support.api import ok
from support.person import Person
from support.places import free_port
from support.server import Login
from support.site import ADA, DIRECTORY, Site, certificate, doorward


# --- Configuration


def test_unknown_key_is_named_with_its_line_and_the_nearest(site: Site):
    site.configure(before='regoin = "eu-west-1"')
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1
    assert "doorward.toml: line 7, column 1: unknown field `regoin`" in done.stderr, done.stderr
    assert "did you mean `region`?" in done.stderr


# Holds: openid-connect-core-16.17-tls, openid-connect-core-3.1.2-tls, openid-connect-core-3.1.3-tls
# Holds: openid-connect-core-5.3-userinfo-tls, rfc6750-5.2-tls, rfc7009-2-tls, rfc7636-7.5-tls, rfc7662-2-tls
# Holds: rfc8414-6.1-tls, rfc9700-2.6-end-to-end-tls
def test_plain_http_for_everybody_is_refused(site: Site):
    config = site.folder / "doorward.toml"
    config.write_text(config.read_text().replace("127.0.0.1:", "0.0.0.0:", 1))
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1 and "would serve plain HTTP to anybody" in done.stderr


def test_check_says_what_is_wrong_and_how_to_mend_it(site: Site):
    done = doorward("check", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 0, done.stdout
    assert "WRONG" not in done.stdout and "1 people, 1 accounts, 1 assignments" in done.stdout
    assert not (site.folder / "data").exists(), "check makes nothing"

    directory = site.folder / "directory.toml"
    directory.write_text(directory.read_text().replace('people = ["ada"]', 'people = ["adda"]'))
    (site.folder / "data").mkdir()
    (site.folder / "data" / "master.key").write_text("00" * 32 + "\n")
    (site.folder / "data" / "master.key").chmod(0o644)
    done = doorward("check", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1
    assert "WRONG directory" in done.stdout and "there is no person adda" in done.stdout
    assert "WRONG master key" in done.stdout and "chmod 600" in done.stdout


# Holds: ledger-37
def test_dev_refuses_to_leave_this_machine(tmp_path: Path):
    done = doorward("dev", "--listen", "0.0.0.0:0", cwd=tmp_path)
    assert done.returncode == 1 and "not a loopback address" in done.stderr


def test_dev_takes_people_of_ones_own(serve, tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(DIRECTORY.replace('password_hash = "{hash}"', 'password = "sesame"'))
    server = serve("--directory", str(file))
    assert server.facts["people"] == [{"user_name": "ada", "password": "sesame"}]
    assert server.facts["accounts"] == [{"id": "111122223333", "name": "Production", "roles": ["ReadOnly"]}]
    assert server.api.first_role(server.api.sign_in(Person(Login("ada", "sesame"))).access) == ("111122223333", "ReadOnly")


# --- Serving


def test_whole_login_over_plain_http_on_loopback(site: Site):
    site.start()
    tokens = site.api.sign_in(Person(ADA))
    assert site.api.first_role(tokens.access) == ("111122223333", "ReadOnly")
    given = ok(site.api.portal("/federation/credentials", tokens.access, account_id="111122223333", role_name="ReadOnly"))
    assert given["roleCredentials"]["sessionToken"]
    assert site.stop() == 0
    # The development controls, and the STS, are of another server.
    site.start()
    for path in ("/dev/clock", "/dev/faults", "/"):
        assert site.api.post(path, {"advance_seconds": 1}).status in (404, 405)
    # The session outlives the restart.
    assert ok(site.api.refresh(tokens))["refreshToken"]


def test_master_key_and_database_are_for_nobody_else(site: Site):
    site.start()
    site.api.sign_in(Person(ADA))
    for file in (site.folder / "data").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert (site.folder / "data").stat().st_mode & 0o077 == 0


def test_second_server_on_one_data_directory_is_refused(site: Site):
    site.start()
    site.port = free_port()
    site.configure()
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1 and "in use by another doorward" in done.stderr, done.stderr


def test_tls_certificate_is_read_again_when_it_changes(site: Site):
    certificate(site.folder, "first")
    site.configure('[tls]\ncertificate = "chain.pem"\nkey = "key.pem"\n', scheme="https")
    site.start()

    def shown() -> str:
        context = ssl.create_default_context(cafile=str(site.folder / "chain.pem"))
        with socket.create_connection(("127.0.0.1", site.port), timeout=5) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                secured.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                assert secured.recv(4096).startswith(b"HTTP/1.1 200 ")
                return dict(pair[0] for pair in secured.getpeercert()["subject"])["commonName"]

    assert shown() == "first"
    certificate(site.folder, "second")
    deadline = time.monotonic() + 20
    while True:
        try:
            if shown() == "second":
                break
        except ssl.SSLError:
            pass
        assert time.monotonic() < deadline, "the new certificate is never shown"
        time.sleep(0.3)
    # A broken file is reported, and the last good one stays.
    good = (site.folder / "chain.pem").read_text()
    (site.folder / "chain.pem").write_text("rubbish")
    deadline = time.monotonic() + 20
    while "the TLS certificate was not replaced" not in site.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (site.folder / "chain.pem").write_text(good)
    assert shown() == "second"


def test_cookies_over_tls_are_secure_and_bound_to_the_host(site: Site):
    certificate(site.folder, "x")
    site.configure('[tls]\ncertificate = "chain.pem"\nkey = "key.pem"\n', scheme="https")
    site.start()
    context = ssl.create_default_context(cafile=str(site.folder / "chain.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", site.port, context=context, timeout=10)
    connection.request("GET", "/sign-in")
    response = connection.getresponse()
    cookie = response.getheader("set-cookie")
    assert cookie.startswith("__Host-") and "; Secure" in cookie and "; HttpOnly" in cookie, cookie
    assert response.getheader("strict-transport-security")
    connection.close()


# Holds: openid-connect-core-16.17-tls, rfc9700-2.6-end-to-end-tls
def test_only_named_proxies_are_served_without_tls(site: Site):
    site.configure('[proxy]\ntrusted = ["127.0.0.2/32"]\n', scheme="https")
    site.start()
    with pytest.raises((http.client.HTTPException, OSError)):
        site.api.register()

    site.stop()
    site.configure('[proxy]\ntrusted = ["127.0.0.0/8"]\n', scheme="https")
    site.start()
    client = site.api.register()
    start = site.api.post(
        "/device_authorization",
        {**client.members, "startUrl": site.api.start_url},
        {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"},
    )
    assert start.status == 200 and start.body["verificationUri"].startswith("https://127.0.0.1:")
    site.stop()
    assert site.api and re.search(r"stopped", site.log.read_text())


# Holds: ledger-38
def test_device_grant_may_be_kept_to_one_address_or_switched_off(site: Site):
    site.configure('[proxy]\ntrusted = ["127.0.0.0/8"]\n', before='device_grant = "same-address"')
    site.start()
    client = site.api.register()
    here = {"X-Forwarded-For": "198.51.100.7"}
    start = site.api.post("/device_authorization", {**client.members, "startUrl": site.api.start_url}, here).body
    # This browser is at 127.0.0.1.
    person = Person(ADA)
    page = person.press(person.arrive(start["verificationUriComplete"]), "Continue")
    assert "another network address" in page.alert and not page.has("Approve"), page
    assert site.api.sign_in(person).access, "from the same address it works"
    site.stop()

    site.configure(before='device_grant = "off"')
    site.start()
    answer = site.api.post("/device_authorization", {**client.members, "startUrl": site.api.start_url})
    assert (answer.status, answer.error) == (400, "UnauthorizedClientException")


def test_sigterm_finishes_what_is_under_way(site: Site):
    """A request whose body is still on its way when SIGTERM comes is answered, durably; a new one is not."""
    site.start()
    tokens = site.api.sign_in(Person(ADA))
    body = json.dumps({**tokens.client.members, "grantType": "refresh_token", "refreshToken": tokens.refresh}).encode()
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        head = f"POST /token HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:-5])
        time.sleep(0.2)
        site.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[-5:])
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    assert site.process.wait(timeout=30) == 0
    tokens.refresh = json.loads(answer.split(b"\r\n\r\n", 1)[1])["refreshToken"]
    site.start()
    assert ok(site.api.refresh(tokens))["refreshToken"]


def test_sigterm_in_a_storm_loses_no_answer(site: Site):
    site.start()
    chains = [site.api.sign_in(Person(ADA)) for _ in range(4)]
    broken: list[str] = []

    def storm(tokens) -> None:
        try:
            while True:
                answer = site.api.refresh(tokens)
                if answer.status != 200:
                    broken.append(answer.text)
                    return
                tokens.access, tokens.refresh = answer.body["accessToken"], answer.body["refreshToken"]
        except (OSError, http.client.HTTPException):
            return

    threads = [threading.Thread(target=storm, args=(chain,)) for chain in chains]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    assert site.stop() == 0
    for thread in threads:
        thread.join(20)
    assert not [text for text in broken if "slow_down" not in text], broken
    site.start()
    for chain in chains:
        assert ok(site.api.refresh(chain))["refreshToken"]


def test_vanity_start_url_leads_the_cli_to_the_alias_and_people_to_the_page(site: Site):
    target = "https://corp.doorward.awsapps.com/start"
    site.configure(before=f'start_url_redirect = "{target}"')
    site.start()
    answer = site.api.call("HEAD", f"http://127.0.0.1:{site.port}/start")
    assert (answer.status, answer.headers["location"]) == (302, target)
    answer = site.api.call("GET", f"http://127.0.0.1:{site.port}/start", headers={"User-Agent": "Python-urllib/3.13"})
    assert (answer.status, answer.headers["location"]) == (302, target)
    assert Person(ADA).arrive(f"http://127.0.0.1:{site.port}/start").heading == "Your access"


def test_stolen_database_without_the_key_forges_nothing(site: Site):
    """Everything at rest, without the master key: no token of it is accepted, and no token is in it."""
    site.start()
    tokens = site.api.sign_in(Person(ADA))
    assert site.stop() == 0
    data = site.folder / "data"
    at_rest = b"".join(file.read_bytes() for file in data.iterdir() if file.name != "master.key")
    for secret in (tokens.access, tokens.refresh, tokens.client.secret, tokens.client.id, ADA.password):
        assert secret.encode() not in at_rest
    # A lost key is not replaced in silence: everybody would be signed out without a word.
    (data / "master.key").unlink()
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1 and "is gone, but its database is there" in done.stderr, done.stderr
    # Whoever has the database has no more than a key of their own.
    (data / "master.key").write_text("1b" * 32 + "\n")
    (data / "master.key").chmod(0o600)
    site.start()
    assert site.api.accounts(tokens.access).status == 401
    assert site.api.refresh(tokens).status == 401
