"""Faults of the database that nodes share: killed, hanging, slow. docs/operations/faults.md tells what must come of each."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from support.api import Answer, Api, Tokens
from support.faults import many_sessions
from support.person import Person
from support.postgres import Postgres, SlowWay
from support.site import ADA, Site

# A request is answered within 30 s by doorward's own clock; a machine that is busy gets some more.
REQUEST = 30 + 10


@pytest.fixture
def way(postgres: Postgres):
    way = SlowWay(postgres.port)
    yield way
    way.close()


@pytest.fixture
def site(way: SlowWay, tmp_path: Path):
    site = Site(tmp_path)
    site.share(f"postgres://doorward@127.0.0.1:{way.port}/doorward")
    site.start()
    yield site
    site.kill()
    print(site.log.read_text()[-4000:])


class Patient(Api):
    """Waits as long as a request may take."""

    timeout = REQUEST + 5


def patient(site: Site) -> Api:
    return Patient(site.api.oidc_endpoint, site.api.portal_endpoint, site.api.start_url)


def refresh(api: Api, login: Tokens) -> Answer:
    answer = api.refresh(login)
    if answer.status == 200:
        login.access, login.refresh = answer.body["accessToken"], answer.body["refreshToken"]
    return answer


def health(site: Site) -> int:
    return patient(site).call("GET", f"http://127.0.0.1:{site.port}/healthz").status


class Burst:
    """Refreshes of all of these sessions at once, and a look at the health meanwhile."""

    def __init__(self, site: Site, logins: list[Tokens]):
        self.answers: list[tuple[float, Answer]] = []
        self.wrong: list[BaseException] = []
        self.threads = [threading.Thread(target=self._run, args=(patient(site), login)) for login in logins]
        for thread in self.threads:
            thread.start()

    def _run(self, api: Api, login: Tokens) -> None:
        begun = time.monotonic()
        try:
            self.answers.append((0, refresh(api, login)))
            self.answers[-1] = (time.monotonic() - begun, self.answers[-1][1])
        except BaseException as error:
            self.wrong.append(error)

    def end(self) -> list[int]:
        """The statuses, each of which is an answer or our fault, and came in time."""
        for thread in self.threads:
            thread.join(REQUEST + 10)
        assert not self.wrong and len(self.answers) == len(self.threads), self.wrong
        for took, answer in self.answers:
            assert took < REQUEST, took
            if answer.status != 200:
                assert answer.status >= 500 and answer.error == "InternalServerException", answer
        return [answer.status for _, answer in self.answers]


def assert_quick_again(site: Site, logins: list[Tokens]) -> None:
    """Without a restart, for everybody, with the token that they were given last."""
    deadline = time.monotonic() + 30
    while health(site) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    begun = time.monotonic()
    for login in logins:
        answer = refresh(patient(site), login)
        assert answer.status == 200, answer
    assert time.monotonic() - begun < 15


def test_killed_database_in_the_middle_of_a_burst_loses_no_answer(site: Site, postgres: Postgres):
    logins = many_sessions(site.api, Person(ADA), 40)
    for pause in (0.0, 0.02, 0.05):
        assert set(Burst(site, logins).end()) == {200}
        burst = Burst(site, logins)
        time.sleep(pause)
        postgres.kill()
        burst.end()
        assert set(Burst(site, logins).end()) == {500}
        assert health(site) == 503
        assert "does it run" in site.log.read_text()
        postgres.start()
        assert_quick_again(site, logins)


def test_database_that_hangs_is_an_error_in_time_and_nothing_after_it(site: Site, postgres: Postgres):
    logins = many_sessions(site.api, Person(ADA), 50)
    postgres.freeze()
    burst = Burst(site, logins)
    begun = time.monotonic()
    assert health(site) == 503
    assert time.monotonic() - begun < 10 + 10, "a call of the store takes ten seconds at most"
    assert set(burst.end()) == {500}
    told = site.log.read_text()
    assert "the database 127.0.0.1:" in told and "look at its load and its locks" in told, told[-3000:]
    postgres.thaw()
    assert_quick_again(site, logins)


def test_slow_database_is_waited_for_within_bounds(site: Site, postgres: Postgres, way: SlowWay):
    """Two seconds for each statement: requests that come one by one are answered, and of a burst those that get a turn."""
    logins = many_sessions(site.api, Person(ADA), 50)
    way.delay = 2.0
    burst = Burst(site, logins)
    time.sleep(3)
    begun = time.monotonic()
    assert health(site) in (200, 503)
    assert time.monotonic() - begun < 10 + 10, "a call of the store takes ten seconds at most"
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doorward'"
    assert postgres.number(ours) <= 10, "eight connections, and two for rotations"
    statuses = burst.end()
    print(statuses.count(200), max(took for took, _ in burst.answers))
    assert statuses.count(200) >= 8, statuses
    assert statuses.count(200) < 50 and "all 8 connections are busy" in site.log.read_text(), "the burst piled up"
    # Once there is nobody else.
    assert refresh(patient(site), logins[0]).status == 200
    way.delay = 0.0
    assert_quick_again(site, logins)
