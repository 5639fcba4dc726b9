"""Faults of the disk under a single node: full, read-only, damaged. docs/operations/faults.md tells what must come of each."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from support.api import Answer, Tokens, ok
from support.faults import many_sessions
from support.person import Person
from support.places import tool, doorward_binary
from support.site import ADA, Site, doorward

PAGE, FRAME = 4096, 4096 + 24


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.fail(f"`{' '.join(command)}`: {done.stderr.strip()}; this test mounts a file system: run it as root", pytrace=False)


class Disk:
    """A file system in memory, of a few megabytes, that can be filled and made read-only."""

    def __init__(self, path: Path, megabytes: int = 3):
        self.path, self.ballast = path, path / "ballast"
        path.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(path))

    def fill(self) -> None:
        with self.ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error

    def make_room(self) -> None:
        self.ballast.unlink()

    def remount(self, mode: str) -> None:
        run("mount", "-o", f"remount,{mode}", str(self.path))

    def remove(self) -> None:
        subprocess.run(["umount", str(self.path)], check=False, timeout=30)


class FailingDisk:
    """ext4 in a file. It can be told that it is broken, and does then what it does on a broken disk: it becomes read-only."""

    def __init__(self, path: Path):
        self.path, self.image = path, path.with_suffix(".img")
        path.mkdir()
        with self.image.open("wb") as image:
            image.truncate(16 << 20)
        run("mkfs.ext4", "-q", "-F", str(self.image))
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.path))

    def fail(self) -> None:
        run("mount", "-o", "remount,abort", str(self.path))

    def repair(self) -> None:
        self.remove()
        # 1: it found something, and repaired it.
        assert subprocess.run(["fsck.ext4", "-p", str(self.image)], capture_output=True, timeout=60).returncode in (0, 1)
        self.mount()

    def remove(self) -> None:
        subprocess.run(["umount", str(self.path)], check=False, timeout=30)


@pytest.fixture
def disk(site: Site):
    disk = Disk(site.folder / "data")
    yield disk
    site.kill()
    disk.remove()


@pytest.fixture
def failing_disk(site: Site):
    disk = FailingDisk(site.folder / "data")
    yield disk
    site.kill()
    disk.remove()


def health(site: Site) -> int:
    return site.api.call("GET", f"http://127.0.0.1:{site.port}/healthz").status


def refresh(site: Site, login: Tokens) -> Answer:
    """A refresh, whose tokens are the login's from then on if there are any."""
    answer = site.api.refresh(login)
    if answer.status == 200:
        login.access, login.refresh = answer.body["accessToken"], answer.body["refreshToken"]
    return answer


def assert_ours(answer: Answer) -> None:
    assert (answer.status, answer.error) == (500, "InternalServerException"), answer
    assert answer.body["error_description"] == "Internal server error"


def refresh_until_it_fails(site: Site, login: Tokens) -> None:
    """What is in the log already can be written over, so some refreshes go through yet."""
    for _ in range(5000):
        answer = refresh(site, login)
        if answer.status != 200:
            return assert_ours(answer)
    raise AssertionError("the disk is full, and 5000 refreshes are written")


# --- No room


def test_full_disk_refuses_writes_and_recovers_without_a_restart(site: Site, disk: Disk):
    site.start()
    logins = [site.api.sign_in(Person(ADA)) for _ in range(3)]
    disk.fill()
    refresh_until_it_fails(site, logins[0])
    for login in logins:
        assert_ours(refresh(site, login))
        assert site.api.accounts(login.access).status == 200
    page = Person(ADA)
    form = page.open(f"http://127.0.0.1:{site.port}/sign-in")
    assert page.press(form, "Sign in", user_name=ADA.user_name, password=ADA.password).status == 500
    # Another start would find the disk no emptier: nobody should cause one.
    assert health(site) == 200
    told = site.log.read_text()
    assert "data/doorward.db: database or disk is full; nothing was written; make room on its disk" in told, told[-2000:]

    disk.make_room()
    for login in logins:
        for _ in range(3):
            assert refresh(site, login).status == 200
    assert health(site) == 200
    # What was answered is there after a start too, however the last one ended.
    site.kill()
    site.start()
    for login in logins:
        assert refresh(site, login).status == 200


def test_limit_on_file_sizes_stops_the_store_and_not_the_server(site: Site):
    """RLIMIT_FSIZE, as systemd's `LimitFSIZE=` sets it: the system says EFBIG, having sent SIGXFSZ, which kills by default."""
    site.start()
    login = site.api.sign_in(Person(ADA))

    def limit(size: str) -> None:
        subprocess.run([tool("prlimit"), "--pid", str(site.process.pid), f"--fsize={size}:"], check=True, timeout=30)

    limit(str((site.folder / "data" / "doorward.db-wal").stat().st_size))
    refresh_until_it_fails(site, login)
    assert site.api.accounts(login.access).status == 200
    # To SQLite that is a broken disk, so the store believes nothing until the next start.
    limit("unlimited")
    assert health(site) == 503
    assert_ours(refresh(site, login))
    assert "nothing more is written; restart the server" in site.log.read_text()
    assert site.stop() == 1, "what could not be written is told at the end too"
    site.start()
    assert refresh(site, login).status == 200 and health(site) == 200


# --- Read-only


def test_read_only_disk_at_the_start_is_refused_in_words(site: Site, disk: Disk):
    site.start()
    login = site.api.sign_in(Person(ADA))
    assert site.stop() == 0
    disk.remount("ro")
    for command in ("serve", "check"):
        done = doorward(command, "-c", "doorward.toml", cwd=site.folder)
        told = done.stdout + done.stderr
        assert done.returncode == 1, done
        assert "cannot use data/lock: Read-only file system" in told and "must be writable by the user" in told, told
        assert "panicked" not in told
    disk.remount("rw")
    site.start()
    assert refresh(site, login).status == 200


def test_disk_that_becomes_read_only_is_an_error_until_it_is_repaired(site: Site, failing_disk: FailingDisk):
    site.start()
    login = site.api.sign_in(Person(ADA))
    assert refresh(site, login).status == 200
    failing_disk.fail()
    assert_ours(refresh(site, login))
    assert_ours(refresh(site, login))
    assert site.api.accounts(login.access).status == 200, "what is in memory was committed"
    assert health(site) == 503
    told = site.log.read_text()
    assert "data/doorward.db" in told and "restart the server" in told, told[-2000:]
    assert site.stop() == 1
    # A start before the repair is refused, and looks for no other place.
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1 and "Read-only file system" in done.stderr, done
    failing_disk.repair()
    site.start()
    # Its own token: the one that was answered last.
    assert refresh(site, login).status == 200 and health(site) == 200


# --- Damage


def ids_of(site: Site) -> list[bytes]:
    """The sessions that were started, in their order."""
    return [bytes.fromhex(id) for id in re.findall(r'event="session_started" session=([0-9a-f]{32})', site.log.read_text())]


def leaves_with(database: bytes, needle: bytes) -> list[int]:
    """Where the pages begin that hold rows (of an index, or of a table), the one with `needle` among them."""
    pages = range(0, len(database), PAGE)
    return [at for at in pages if database[at] in (10, 13) and needle in database[at : at + PAGE]]


def damage(database: Path, at: int) -> None:
    """Another kind of page, and rubbish where the cells of this one are listed."""
    with database.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 64)


def test_damaged_page_is_an_error_that_names_the_database_and_concerns_nobody_else(site: Site):
    site.start()
    logins = many_sessions(site.api, Person(ADA), 180)
    assert site.stop() == 0
    database = site.folder / "data" / "doorward.db"
    whole, ids = database.read_bytes(), ids_of(site)
    assert len(ids) == len(logins)
    examined = doorward("check", "-c", "doorward.toml", "--read-database", cwd=site.folder)
    assert "no damage was found" in examined.stdout, examined.stdout
    # A page of the heads, which are in the order of their ids, and one of the sessions, in the order of their start.
    leaves = leaves_with(whole, ids[100])
    assert len(leaves) >= 2
    for at in leaves:
        database.write_bytes(whole)
        damage(database, at)
        on_it = [id in whole[at : at + PAGE] for id in ids]
        site.log.unlink()
        site.start()
        outcomes, strays = [], 0
        for login, is_on_it in zip(logins, on_it):
            # The tokens of the database as it was, which is there again in each round.
            answer = site.api.refresh(login)
            outcomes.append(answer.status)
            if answer.status != 200:
                strays += not is_on_it
                assert_ours(answer)
                assert site.api.accounts(login.access).status == 500
        # A row between two pages is kept in the page above them, and looked for by way of one of the two.
        assert strays <= 2, "sessions on other pages"
        # A page may hold what is left of rows that have moved to another, which are read from there.
        assert 10 < outcomes.count(200) < len(ids), outcomes
        told = site.log.read_text()
        assert "cannot read the database data/doorward.db: database disk image is malformed" in told, told[-2000:]
        assert "restore it from a backup" in told and "panicked" not in told, told[-2000:]
        assert health(site) in (200, 503), "a session that nobody has may belong on that page"
        assert site.stop() == 0
        examined = doorward("check", "-c", "doorward.toml", "--read-database", cwd=site.folder)
        assert examined.returncode == 1, examined.stdout
        assert "WRONG store: the store failed: cannot read the database data/doorward.db" in examined.stdout, examined.stdout


def test_damage_that_concerns_everybody_refuses_the_start(site: Site):
    """The first page, and those of what is read into memory at the start."""
    site.start()
    assert health(site) == 200
    assert site.stop() == 0
    database = site.folder / "data" / "doorward.db"
    whole = database.read_bytes()
    for page in range(4):
        damage(database, page * PAGE)
        for command in ("serve", "check"):
            done = doorward(command, "-c", "doorward.toml", cwd=site.folder)
            told = done.stdout + done.stderr
            assert done.returncode == 1 and "panicked" not in told, told
            assert "cannot use the database data/doorward.db" in told and "restore it from a backup" in told, told
        database.write_bytes(whole)
    database.write_bytes(whole[: len(whole) // 2])
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1 and "data/doorward.db" in done.stderr and "panicked" not in done.stderr, done.stderr


def test_torn_end_of_the_log_loses_nothing_that_was_answered(site: Site):
    """kill -9, and a last write that reached the disk in part, or as something else."""
    site.start()
    logins = [site.api.sign_in(Person(ADA)) for _ in range(3)]
    log = site.folder / "data" / "doorward.db-wal"
    for turn in range(4):
        for login in logins:
            for _ in range(5):
                assert refresh(site, login).status == 200
        site.kill()
        end = log.read_bytes()
        # A frame that looks right, of the same generation of the log, cut off; a whole one whose page is another; zeros.
        torn = [end[-FRAME:-1000], end[-FRAME:-8] + b"rubbish!", b"\0" * FRAME, os.urandom(3 * FRAME)][turn]
        log.write_bytes(end + torn)
        site.start()
        for login in logins:
            assert refresh(site, login).status == 200
        assert "store_was_behind" not in site.log.read_text(), "an answered token was not in the database"


def test_end_of_the_log_that_the_disk_lost_is_caught_up_with(site: Site):
    """A disk that said it had written and had not: the tokens are newer than the database, and authentic."""
    site.start()
    login = site.api.sign_in(Person(ADA))
    for _ in range(5):
        assert refresh(site, login).status == 200
    site.kill()
    log = site.folder / "data" / "doorward.db-wal"
    end = bytearray(log.read_bytes())
    end[-FRAME] ^= 0xFF
    log.write_bytes(end)
    site.start()
    assert refresh(site, login).status == 200
    assert 'event="store_was_behind"' in site.log.read_text()
    assert refresh(site, login).status == 200
