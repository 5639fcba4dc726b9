"""Two nodes on one PostgreSQL: any of them answers any request."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from support.api import assert_refused_refresh, ok, tokens
from support.person import Person
from support.postgres import Postgres
from support.site import ADA, Site, doorward


def node(folder: Path, postgres_url: str, like: Site | None = None) -> Site:
    folder.mkdir()
    site = Site(folder)
    if like:
        shutil.copy(like.folder / "directory.toml", folder / "directory.toml")
    site.share(postgres_url)
    return site


@pytest.fixture
def nodes(postgres: Postgres, tmp_path: Path):
    """Two nodes with one key and one directory, started at the same moment on an empty database."""
    one = node(tmp_path / "one", postgres.url)
    nodes = [one, node(tmp_path / "two", postgres.url, like=one)]
    checked = doorward("check", "-c", "doorward.toml", cwd=nodes[0].folder)
    assert checked.returncode == 0 and "ok    store: will be made at the first start" in checked.stdout, checked.stdout
    for site in nodes:
        site.spawn()
    for site in nodes:
        site.wait()
        # The port is taken first, and the schema made then.
        assert site.api.call("GET", f"http://127.0.0.1:{site.port}/healthz").status == 200
    checked = doorward("check", "-c", "doorward.toml", cwd=nodes[0].folder)
    assert "ok    store: can be opened" in checked.stdout, checked.stdout
    yield nodes
    for site in nodes:
        site.kill()
        print(site.log.read_text()[-3000:])


def test_login_refresh_and_logout_over_two_nodes(nodes):
    one, two = (site.api for site in nodes)
    client = one.register()
    request = one.start_device(client)
    # The page of the other node finds the code, and its approval is found by the first one's poll.
    Person(ADA).approve_device(request["verificationUriComplete"].replace(str(nodes[0].port), str(nodes[1].port)))
    login = tokens(client, one.poll(client, request["deviceCode"]))
    for turn in range(6):
        first, second = (one, two) if turn % 2 else (two, one)
        before = login.refresh
        body = ok(first.refresh(login))
        login.access, login.refresh = body["accessToken"], body["refreshToken"]
        # The same token, presented to the other node meanwhile, has the same successor.
        assert ok(second.refresh(login, before))["refreshToken"] == login.refresh
        assert one.accounts(login.access).status == two.accounts(login.access).status == 200
    assert one.logout(login.access).status == 200
    two.assert_dead(login)
    one.assert_dead(login)


def test_database_that_goes_away_is_an_internal_error_and_comes_back(nodes, postgres: Postgres):
    one, two = (site.api for site in nodes)
    login = one.sign_in(Person(ADA))
    postgres.kill()
    started = time.monotonic()
    answer = two.refresh(login)
    assert (answer.status, answer.error) == (500, "InternalServerException"), answer
    assert two.call("GET", f"http://127.0.0.1:{nodes[1].port}/healthz").status == 503
    assert time.monotonic() - started < 30
    postgres.start()
    deadline = time.monotonic() + 30
    while (answer := two.refresh(login)).status == 500:
        assert time.monotonic() < deadline, answer
        time.sleep(0.3)
    login.refresh = ok(answer)["refreshToken"]
    assert ok(one.refresh(login))["refreshToken"]


# Holds: rfc9700-4.14.2-rotation-detects-replay
def test_replay_on_another_node_ends_the_session_everywhere(nodes):
    one, two = (site.api for site in nodes)
    login = one.sign_in(Person(ADA))
    oldest = login.refresh
    for node in (one, two):
        body = ok(node.refresh(login))
        login.access, login.refresh = body["accessToken"], body["refreshToken"]
    assert_refused_refresh(two.refresh(login, oldest))
    one.assert_dead(login)
    two.assert_dead(login)


def test_wrong_passwords_over_two_nodes_are_limited_as_on_one(nodes):
    guesser = Person(ADA)
    pages = [guesser.open(f"http://127.0.0.1:{site.port}/sign-in") for site in nodes]

    def guess(turn: int, password: str):
        return guesser.press(pages[turn % 2], "Sign in", user_name=ADA.user_name, password=password)

    told = [guess(turn, f"guess {turn}").alert for turn in range(16)]
    assert all("do not go together" in text for text in told[:10]), told
    assert all("Too many attempts" in text for text in told[10:]), told
    # The right one comes too late, on either node, and on one that has been started anew.
    nodes[1].kill()
    nodes[1].start()
    for turn in range(2):
        assert "Too many attempts" in guess(turn, ADA.password).alert
    for site in nodes:
        assert "sign_in_throttled" in site.log.read_text()


# Holds: ledger-39, rfc8628-5.1-rate-limit
def test_user_codes_over_two_nodes_are_limited_as_on_one(nodes):
    one = nodes[0].api
    person = Person(ADA)
    request = one.start_device(one.register())
    pages = [person.arrive(f"http://127.0.0.1:{nodes[0].port}/device")]
    # Behind one name a browser has one session; here the port is in the cookie's name.
    first, second = (str(site.port) for site in nodes)
    person.cookies |= {name.replace(first, second): value for name, value in person.cookies.items()}
    pages.append(person.open(f"http://127.0.0.1:{second}/device"))
    told = [person.press(pages[turn % 2], "Continue", user_code="BCDF-GHJK").alert for turn in range(14)]
    assert all("No tool is waiting with that code" in text for text in told[:10]), told
    assert all("Too many wrong codes" in text for text in told[10:]), told
    for page in pages:
        assert not person.press(page, "Continue", user_code=request["userCode"]).has("Approve")


def test_guess_is_an_error_and_never_free_while_the_database_is_away(nodes, postgres: Postgres):
    guesser = Person(ADA)
    page = guesser.open(f"http://127.0.0.1:{nodes[0].port}/sign-in")
    postgres.kill()
    for password in (ADA.password, "wrong"):
        answer = guesser.press(page, "Sign in", user_name=ADA.user_name, password=password)
        assert answer.status == 500 and "Something went wrong here" in answer.text, answer
    postgres.start()
    deadline = time.monotonic() + 30
    while (answer := guesser.press(page, "Sign in", user_name=ADA.user_name, password=ADA.password)).status == 500:
        assert time.monotonic() < deadline, answer
        time.sleep(0.3)
    assert answer.heading == "Your access", answer
