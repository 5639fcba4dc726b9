"""`doorward backup`, `restore` and `migrate` with real servers: nobody signs in again."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.api import Tokens, assert_refused_refresh, ok
from support.person import Person
from support.places import doorward_binary
from support.postgres import Postgres
from support.site import ADA, Site, doorward

MANY = 60_000


class Refreshing:
    """Refreshes one session without a pause, as its client would, until told to stop."""

    def __init__(self, site: Site, tokens: Tokens):
        self.site, self.tokens, self.count = site, tokens, 0
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                refresh(self.site, self.tokens)
                self.count += 1
        except BaseException as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        self.wait_for_more()
        return self

    def wait_for_more(self) -> None:
        before, deadline = self.count, time.monotonic() + 20
        while self.count < before + 3:
            assert not self.failure and time.monotonic() < deadline, self.failure
            time.sleep(0.01)

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(30)
        assert not self.failure, self.failure


def refresh(site: Site, tokens: Tokens) -> None:
    body = ok(site.api.refresh(tokens))
    tokens.access, tokens.refresh = body["accessToken"], body["refreshToken"]


def command(site: Site, *words: str) -> subprocess.CompletedProcess:
    """A command with the site's own configuration, which must succeed."""
    done = doorward(*words, cwd=site.folder)
    assert done.returncode == 0, done.stderr
    return done


def refused(site: Site, *words: str) -> str:
    done = doorward(*words, cwd=site.folder)
    assert done.returncode == 1 and not done.stdout, (done.stdout, done.stderr)
    return done.stderr


@pytest.fixture
def sites(tmp_path: Path):
    """Folders for servers; what runs in them ends with the test, and shows its log."""
    made: list[Site] = []

    def make(name: str) -> Site:
        (tmp_path / name).mkdir()
        made.append(Site(tmp_path / name))
        if len(made) > 1:
            shutil.copy(made[0].folder / "directory.toml", made[-1].folder / "directory.toml")
        return made[-1]

    yield make
    for site in made:
        site.kill()
        if site.log.exists():
            print(site.log.read_text()[-2000:])


def move_key(old: Path, site: Site) -> None:
    data = site.folder / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(old, data / "master.key")


# --- Backup and restore


def test_server_whose_disk_is_gone_goes_on_from_its_backup(sites):
    site = sites("one")
    site.start()
    idle, busy, ended = (site.api.sign_in(Person(ADA)) for _ in range(3))
    assert site.api.logout(ended.access).status == 200
    with Refreshing(site, busy) as refreshing:
        before = refreshing.count
        said = command(site, "backup", "-c", "doorward.toml", "../backup").stdout
        refreshing.wait_for_more()
        assert refreshing.count > before, "the server went on"
    assert re.search(r"backed up data to \.\./backup: \d+ sessions, \d+ device requests, \d+ records, directory version 1, [\d.]+ KiB; copied and verified in", said), said
    assert "the master key is not in it: keep a copy of data/master.key apart" in said
    backup = site.folder.parent / "backup"
    assert backup.stat().st_mode & 0o777 == 0o600
    assert "exists, and a backup writes over nothing" in refused(site, "backup", "-c", "doorward.toml", "../backup")
    late = site.api.sign_in(Person(ADA))

    site.kill()
    key = site.folder.parent / "the copy of the key"
    (site.folder / "data" / "master.key").rename(key)
    shutil.rmtree(site.folder / "data")
    said = command(site, "restore", "-c", "doorward.toml", "../backup").stdout
    assert "put your copy of it at data/master.key" in said, said
    # Without the key the server does not make another.
    assert "is gone, but its database is there" in refused(site, "serve", "-c", "doorward.toml")
    move_key(key, site)
    site.start()
    assert site.api.first_role(idle.access) == ("111122223333", "ReadOnly")
    refresh(site, idle)
    # Its newest token is newer than the backup: the database catches up.
    assert "store_was_behind" not in site.log.read_text()
    refresh(site, busy)
    assert "store_was_behind" in site.log.read_text()
    refresh(site, busy)
    site.api.assert_dead(ended)
    # What was begun after the backup is lost.
    assert_refused_refresh(site.api.refresh(late))
    assert site.stop() == 0
    assert "is not empty" in refused(site, "restore", "-c", "doorward.toml", "../backup")


def test_backup_of_a_server_that_does_not_run_and_of_one_that_was_killed(sites):
    site, other = sites("one"), sites("two")
    site.start()
    tokens = site.api.sign_in(Person(ADA))
    site.kill()
    command(site, "backup", "-c", "doorward.toml", "killed")
    site.start()
    refresh(site, tokens)
    assert site.stop() == 0
    command(site, "backup", "-c", "doorward.toml", "stopped")
    command(other, "restore", "-c", "doorward.toml", "../one/stopped")
    move_key(site.folder / "data" / "master.key", other)
    other.start()
    refresh(other, tokens)
    assert "store_was_behind" not in other.log.read_text()
    other.kill()
    shutil.rmtree(other.folder / "data")
    command(other, "restore", "-c", "doorward.toml", "../one/killed")
    # And the server that was backed up is none the worse.
    site.start()


def test_backup_of_a_shared_database_in_use_is_restored_on_one_node(sites, postgres: Postgres):
    node, alone = sites("node"), sites("alone")
    node.share(postgres.url)
    node.start()
    tokens = node.api.sign_in(Person(ADA))
    with Refreshing(node, tokens):
        command(node, "backup", "-c", "doorward.toml", "../backup")
    command(alone, "restore", "-c", "doorward.toml", "../backup")
    move_key(node.folder / "master.key", alone)
    alone.start()
    refresh(alone, tokens)
    assert alone.api.first_role(tokens.access) == ("111122223333", "ReadOnly")


# --- Migration


def test_migration_to_postgres_and_back_signs_nobody_out(sites, postgres: Postgres):
    first, shared, last = sites("first"), sites("shared"), sites("last")
    shared.share(postgres.url)
    to_shared = ("migrate", "-c", "doorward.toml", "--to", "../shared/doorward.toml")
    first.start()
    sessions = [first.api.sign_in(Person(ADA)) for _ in range(3)]
    key = first.folder / "data" / "master.key"

    assert "the master key ../shared/master.key is another than data/master.key" in refused(first, *to_shared)
    (shared.folder / "master.key").unlink()
    assert "copy data/master.key to ../shared/master.key (mode 600)" in refused(first, *to_shared)
    shutil.copy(key, shared.folder / "master.key")
    assert "in use by another doorward" in refused(first, *to_shared)
    assert first.stop() == 0
    said = command(first, *to_shared).stdout
    assert f"migrated data to 127.0.0.1:{postgres.port}/doorward: " in said, said
    assert "start doorward with ../shared/doorward.toml from now on" in said
    assert "is not empty" in refused(first, *to_shared)

    shared.start()
    for tokens in sessions:
        refresh(shared, tokens)
    back = ("migrate", "-c", "doorward.toml", "--to", "../last/doorward.toml")
    move_key(key, last)
    # A node that still runs is found out by what it writes.
    with Refreshing(shared, sessions[0]):
        assert "stop all nodes and migrate again" in refused(shared, *back)
    assert [file.name for file in (last.folder / "data").iterdir() if file.name.startswith("doorward.db")] == []
    assert shared.stop() == 0
    command(shared, *back)
    last.start()
    for tokens in sessions:
        refresh(last, tokens)
        assert last.api.first_role(tokens.access) == ("111122223333", "ReadOnly")
    assert "store_was_behind" not in shared.log.read_text() + last.log.read_text()


# --- Broken off


@pytest.fixture
def crowd(sites) -> tuple[Site, Path, Tokens]:
    """A stopped server with so many sessions that a copy takes a while, one of which is somebody's; and its backup."""
    site = sites("crowd")
    site.start()
    tokens = site.api.sign_in(Person(ADA))
    assert site.stop() == 0
    with contextlib.closing(sqlite3.connect(site.folder / "data" / "doorward.db")) as database, database:
        (first,) = database.execute("SELECT max(seq) + 1 FROM session").fetchone()
        ids = [(first + n, os.urandom(16)) for n in range(MANY)]
        database.executemany(
            "INSERT INTO session SELECT ?, ?, person, client, client_name, scopes, created_at, authenticated_at,"
            " expires_at, terms FROM session WHERE seq = 1",
            ids,
        )
        (rotated_at,) = database.execute("SELECT rotated_at FROM head WHERE seq = 1").fetchone()
        database.executemany(f"INSERT INTO head VALUES (?2, ?1, 0, {rotated_at}, NULL, NULL)", ids)
    command(site, "backup", "-c", "doorward.toml", "../backup")
    return site, site.folder.parent / "backup", tokens


def broken_off(site: Site, folder: Path, how: signal.Signals, *words: str) -> subprocess.Popen:
    """Starts a copy, and sends it a signal once there is something of what it writes."""
    process = subprocess.Popen(
        [str(doorward_binary()), *words], cwd=site.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not any(file.stat().st_size for file in folder.glob("*.unfinished")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(how)
    process.wait(30)
    return process


def test_interrupted_backup_leaves_no_file(crowd):
    site, backup, _ = crowd
    files = set(backup.parent.iterdir())
    for how in (signal.SIGINT, signal.SIGTERM):
        process = broken_off(site, backup.parent, how, "backup", "-c", "doorward.toml", "../other")
        assert process.returncode == 1 and "stopped; nothing that was copied is kept" in process.stderr.read()
        assert set(backup.parent.iterdir()) == files


def test_killed_restore_leaves_a_directory_without_a_database(crowd, sites):
    _, backup, tokens = crowd
    target = sites("target")
    data = target.folder / "data"
    process = broken_off(target, data, signal.SIGKILL, "restore", "-c", "doorward.toml", "../backup")
    assert process.returncode == -signal.SIGKILL
    assert {file.name for file in data.iterdir()} == {"doorward.db.unfinished", "guests", "lock"}
    command(target, "restore", "-c", "doorward.toml", "../backup")
    assert {file.name for file in data.iterdir()} == {"doorward.db", "guests", "lock"}
    move_key(backup.parent / "crowd" / "data" / "master.key", target)
    target.start()
    refresh(target, tokens)


def test_killed_restore_leaves_an_empty_database(crowd, sites, postgres: Postgres):
    _, backup, tokens = crowd
    target = sites("target")
    target.share(postgres.url)
    process = subprocess.Popen([str(doorward_binary()), "restore", "-c", "doorward.toml", "../backup"], cwd=target.folder)
    deadline = time.monotonic() + 30
    while postgres.ask("SELECT pg_relation_size('session')") in ("", "0"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert postgres.ask("SELECT count(*) FROM session") == "0"
    assert postgres.ask("SELECT version FROM directory") == "0"
    # Which would not be so if it held anything.
    command(target, "restore", "-c", "doorward.toml", "../backup")
    shutil.copy(backup.parent / "crowd" / "data" / "master.key", target.folder / "master.key")
    target.start()
    refresh(target, tokens)


def test_progress_is_a_bar_on_a_terminal_and_nothing_in_a_short_log(crowd):
    site, _, _ = crowd
    assert command(site, "backup", "-c", "doorward.toml", "../quiet").stderr == ""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [str(doorward_binary()), "backup", "-c", "doorward.toml", "../shown"],
        cwd=site.folder, stdin=end, stdout=subprocess.DEVNULL, stderr=end, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    assert process.wait(30) == 0
    text = shown.decode()
    for step in ("copying", "verifying"):
        assert re.search(rf"{step} .* of {MANY // 1000},\d\d\d sessions, .*/s, .* left", text), text[-2000:]
