"""The JavaScript SDK on the token file that another tool wrote (T69)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.home import PROFILE, AwsCli, Home
from support.person import Person
from support.places import javascript_modules, tool
from support.server import Doorward

SCRIPT = Path(__file__).parent / "js" / "whoami.cjs"


def whoami(home: Home) -> str:
    command = [tool("node"), str(SCRIPT), str(javascript_modules().parent), PROFILE]
    surroundings = {**home.environment, "AWS_PROFILE": PROFILE}
    done = subprocess.run(command, env=surroundings, cwd=home.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_t69_one_token_file_serves_javascript_and_the_cli(home: Home, doorward: Doorward, person: Person):
    """Each refreshes in turn, and leaves the other a refresh token."""
    home.write_token(doorward.api.sign_in(person))
    first = whoami(home)
    assert first.endswith(f"/{person.login.user_name}")
    cli = AwsCli("sid", home)
    readers = [
        lambda: whoami(home),
        lambda: cli.json("sts", "get-caller-identity", "--profile", PROFILE)["Arn"],
    ]
    for read in readers * 2:
        # Four minutes are less than the five of JavaScript and the fifteen of Python.
        before = home.leave_minutes(4)
        assert read() == first
        after = home.token()
        assert after["accessToken"] != before["accessToken"] and after["refreshToken"]
        assert doorward.api.accounts(after["accessToken"]).status == 200
