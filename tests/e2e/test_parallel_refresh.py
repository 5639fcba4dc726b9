"""Eight processes, one token file, no lock between them, as every SDK does it (T43, F6)."""

from __future__ import annotations

import json
import multiprocessing
import os
import traceback
from pathlib import Path

import boto3
from botocore.config import Config

from support.api import assert_refused_refresh, ok
from support.home import Home
from support.person import Person
from support.server import Doorward

PROCESSES, ROUNDS = 8, 50
ONCE = Config(retries={"total_max_attempts": 1})


def refresher(number: int, file: Path, oidc_endpoint: str, portal_endpoint: str, region: str, barrier, results) -> None:
    """One long-lived process: in each round it reads the file, refreshes with all the others, and uses what it got."""
    try:
        session = boto3.Session(region_name=region)
        oidc = session.client("sso-oidc", endpoint_url=oidc_endpoint, config=ONCE)
        portal = session.client("sso", endpoint_url=portal_endpoint, config=ONCE)
        for _ in range(ROUNDS):
            token = json.loads(file.read_text())
            barrier.wait(60)
            answer = oidc.create_token(
                grantType="refresh_token",
                clientId=token["clientId"],
                clientSecret=token["clientSecret"],
                refreshToken=token["refreshToken"],
            )
            assert answer["refreshToken"] != token["refreshToken"]
            portal.list_accounts(accessToken=answer["accessToken"])
            # The last one to write wins, as with any two commands that a person runs at once.
            mine = file.with_suffix(f".{number}")
            mine.write_text(json.dumps({**token, "accessToken": answer["accessToken"], "refreshToken": answer["refreshToken"]}))
            os.replace(mine, file)
            barrier.wait(60)
        results.put((number, None))
    except BaseException:
        barrier.abort()
        results.put((number, traceback.format_exc()))


# Holds: ledger-01
def test_t43_eight_processes_refresh_one_token_for_fifty_rounds(home: Home, doorward: Doorward, person: Person):
    first = doorward.api.sign_in(person)
    home.write_token(first)
    # Forked, so that the SDK is loaded once; no thread of this process runs yet.
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    common = (home.token_file(), doorward.oidc_endpoint, doorward.portal_endpoint, doorward.region, barrier, results)
    processes = [context.Process(target=refresher, args=(number, *common), daemon=True) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    failures = [trace for _, trace in (results.get(timeout=120) for _ in processes) if trace]
    for process in processes:
        process.join(10)
    told = [trace for trace in failures if "BrokenBarrierError" not in trace] or failures
    assert not failures, told[0]

    newest = home.token()
    assert doorward.api.accounts(newest["accessToken"]).status == 200
    assert ok(doorward.api.refresh(first, newest["refreshToken"]))["refreshToken"]


# Holds: rfc9700-4.14.2-rotation-detects-replay
def test_replay_outside_the_window_ends_the_session(doorward: Doorward, person: Person):
    tokens = doorward.api.sign_in(person)
    used = tokens.refresh
    successor = ok(doorward.api.refresh(tokens))
    # Inside the window a lost answer is given again: the very same successor.
    assert ok(doorward.api.refresh(tokens))["refreshToken"] == successor["refreshToken"]
    doorward.advance_clock(61)
    assert_refused_refresh(doorward.api.refresh(tokens, used))
    tokens.access, tokens.refresh = successor["accessToken"], successor["refreshToken"]
    doorward.api.assert_dead(tokens)


def test_token_older_than_the_previous_one_is_a_replay_even_inside_the_window(doorward: Doorward, person: Person):
    tokens = doorward.api.sign_in(person)
    oldest = tokens.refresh
    for _ in range(2):
        newest = ok(doorward.api.refresh(tokens))
        tokens.access, tokens.refresh = newest["accessToken"], newest["refreshToken"]
    assert_refused_refresh(doorward.api.refresh(tokens, oldest))
    doorward.api.assert_dead(tokens)
