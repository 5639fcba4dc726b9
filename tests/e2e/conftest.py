"""Fixtures: servers that stop with their test, people, and homes for clients."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from support.ceph import Ceph
from support.home import Home
from support.moto import Moto
from support.person import Person
from support.places import tool
from support.postgres import Postgres
from support.server import Doorward
from support.site import Site

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool("chromium"), headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path: Path):
    """Starts servers; each ends with the test, and shows its log if the test failed."""
    started: list[Doorward] = []

    def start(*flags: str, **options) -> Doorward:
        started.append(Doorward(tmp_path / "server", *flags, **options))
        return started[-1]

    yield start
    stubborn = []
    for server in started:
        running = server.process.poll() is None
        code = server.stop()
        if running and code != 0:
            stubborn.append(code)
    for server in started[-3:]:
        print(server.log()[-4000:])
    assert not stubborn, f"SIGTERM did not end the server with rc 0: {stubborn}"


@pytest.fixture
def doorward(serve) -> Doorward:
    """A server where a person has to approve."""
    return serve()


@pytest.fixture
def person(doorward: Doorward) -> Person:
    return Person(doorward.people[0])


@pytest.fixture
def home(tmp_path: Path, doorward: Doorward) -> Home:
    """A home whose profile names an account and a role that the person has."""
    home = Home(tmp_path / "home", doorward)
    home.configure(*doorward.api.first_role(doorward.api.sign_in(Person(doorward.people[0])).access))
    return home


@pytest.fixture
def postgres():
    postgres = Postgres()
    yield postgres
    postgres.remove()


@pytest.fixture
def site(tmp_path: Path):
    """A production server's folder; the test starts what runs in it."""
    site = Site(tmp_path)
    yield site
    site.kill()
    if site.log.exists():
        print(site.log.read_text()[-4000:])


@pytest.fixture(scope="session")
def ceph_20():
    ceph = Ceph("forky")
    yield ceph
    ceph.remove()


@pytest.fixture(scope="session")
def ceph_18():
    ceph = Ceph("trixie")
    yield ceph
    ceph.remove()


@pytest.fixture
def ceph(ceph_20: Ceph):
    """The one gateway of Ceph 20. What others made in it stays: make providers, roles and buckets of your own."""
    yield ceph_20
    print(ceph_20.log())


@pytest.fixture
def old_ceph(ceph_18: Ceph):
    """The same of Ceph 18, which wants more of an issuer."""
    yield ceph_18
    print(ceph_18.log())


@pytest.fixture(scope="session")
def moto_server():
    moto = Moto()
    yield moto
    moto.remove()


@pytest.fixture
def moto(moto_server: Moto) -> Moto:
    """The one server, which has forgotten everything."""
    moto_server.reset()
    return moto_server
