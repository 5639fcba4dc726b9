"""kill -9 in the middle of a refresh storm: what was answered holds, what was used up stays used up."""

from __future__ import annotations

import http.client
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.api import Tokens, assert_refused_refresh, ok
from support.server import Doorward

KILLS, SESSIONS, GRACE = 32, 8, 60
# On a copy of the data, with its clock moved, so that the storm's own sessions are not ended by the question.
REPLAYS_EVERY = 2


@dataclass
class Chain:
    """One session as its client knows it: the newest tokens it was given, and those it has replaced."""

    tokens: Tokens
    used: list[str] = field(default_factory=list)

    def refresh(self, server: Doorward) -> None:
        body = ok(server.api.refresh(self.tokens))
        self.used.append(self.tokens.refresh)
        self.tokens.access, self.tokens.refresh = body["accessToken"], body["refreshToken"]


def storm(server: Doorward, chains: list[Chain], length: float) -> int:
    """Refreshes every chain as fast as it goes, kills the server at once when the time is up, and counts the answers."""
    unexpected: list[BaseException] = []
    before = sum(len(chain.used) for chain in chains)
    killed = threading.Event()

    def work(chain: Chain) -> None:
        try:
            while True:
                chain.refresh(server)
        except (OSError, http.client.HTTPException):
            if not killed.is_set():
                time.sleep(0.5)
            if not killed.is_set():
                unexpected.append(AssertionError("the connection broke before the kill"))
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=work, args=(chain,)) for chain in chains]
    for thread in threads:
        thread.start()
    time.sleep(length)
    killed.set()
    server.kill()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    if unexpected:
        raise unexpected[0]
    return sum(len(chain.used) for chain in chains) - before


def assert_used_up(server: Doorward, chains: list[Chain], chance: random.Random) -> None:
    """Past the window, no replaced token is accepted, however old or new it is, and each attempt ends its session.

    The newest of them tells most: it is accepted if the refresh that replaced it was answered and then lost.
    """
    server.advance_clock(GRACE + 1)
    for number, chain in enumerate(chains):
        presented = chain.used[-1] if number % 4 else chance.choice(chain.used)
        assert_refused_refresh(server.api.refresh(chain.tokens, presented))
        server.api.assert_dead(chain.tokens)


# Holds: ledger-02
def test_killed_server_keeps_every_answered_token(serve, tmp_path: Path):
    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    data = tmp_path / "data"
    flags = ("--data-dir", str(data), "--auto-approve")
    first = serve("--data-dir", str(data))
    approver = first.people[0].user_name
    first.stop()

    server = serve(*flags, approver)
    chains = [Chain(server.api.sign_in_approved()) for _ in range(SESSIONS)]
    ended: list[Tokens] = []
    answered = 0
    for kill in range(KILLS):
        # An answered logout holds too.
        gone = server.api.sign_in_approved()
        assert server.api.logout(gone.access).status == 200
        ended.append(gone)

        answered += storm(server, chains, chance.uniform(0.02, 0.7))

        if kill % REPLAYS_EVERY == 0 and all(chain.used for chain in chains):
            copy = tmp_path / f"copy-{kill}"
            shutil.copytree(data, copy)
            other = serve("--data-dir", str(copy), "--auto-approve", approver)
            assert_used_up(other, chains, chance)
            other.stop()

        server = serve(*flags, approver)
        for chain in chains:
            chain.refresh(server)
            assert server.api.accounts(chain.tokens.access).status == 200
        server.api.assert_dead(ended[-1])

    assert answered >= KILLS * SESSIONS, f"only {answered} refreshes were answered: no storm"
    print(f"{answered} refreshes answered over {KILLS} kills")
    for tokens in ended:
        server.api.assert_dead(tokens)
    assert_used_up(server, chains, chance)
