"""The AWS CLI v2, oldest and newest of Debian's, from login to logout (T68, T70).

The start URL is an alias everywhere but in `configure sso`: the newer CLI accepts nothing else (wire contract, 8.2).
"""

from __future__ import annotations

import re

import pexpect
import pytest

from support.api import Client, Tokens
from support.home import LEGACY_PROFILE, PROFILE, SESSION, AwsCli, Home
from support.person import Person
from support.server import Doorward

NEW_LOGIN = ("sso", "login", "--sso-session", SESSION, "--no-browser")


@pytest.fixture(params=["trixie", "sid"])
def aws(request, home: Home) -> AwsCli:
    return AwsCli(request.param, home)


def login_by_pkce(aws: AwsCli, person: Person) -> None:
    with aws.start(*NEW_LOGIN) as waiting:
        page = person.decide(waiting.authorize_url(), "Approve")
        person.deliver(page)
        assert waiting.finish() == 0, waiting.output


def login_by_device(aws: AwsCli, person: Person) -> None:
    with aws.start(*NEW_LOGIN, "--use-device-code") as waiting:
        person.approve_device(waiting.device_url())
        assert waiting.finish() == 0, waiting.output


def cached(home: Home) -> Tokens:
    token = home.token()
    return Tokens(Client(token["clientId"], token["clientSecret"]), token["accessToken"], token["refreshToken"], 0)


def identity(aws: AwsCli, profile: str = PROFILE) -> str:
    return aws.json("sts", "get-caller-identity", "--profile", profile)["Arn"]


@pytest.mark.parametrize("login", [login_by_pkce, login_by_device])
def test_t68_login_use_refresh_logout(login, aws: AwsCli, home: Home, person: Person, doorward: Doorward):
    login(aws, person)
    token = home.token()
    assert token["refreshToken"] and token["startUrl"] == doorward.alias

    # The portal, with the cached access token.
    access = ("--access-token", token["accessToken"], "--region", doorward.region)
    accounts = aws.json("sso", "list-accounts", *access)["accountList"]
    known = {account["id"]: account for account in doorward.facts["accounts"]}
    assert accounts and all(known[each["accountId"]]["name"] == each["accountName"] for each in accounts)
    account = accounts[0]["accountId"]
    roles = [role["roleName"] for role in aws.json("sso", "list-account-roles", "--account-id", account, *access)["roleList"]]
    assert roles and set(roles) <= set(known[account]["roles"])
    words = ("sso", "get-role-credentials", "--account-id", account, "--role-name", roles[0], *access)
    assert all(aws.json(*words)["roleCredentials"].values())

    # The profile: credentials that a service accepts.
    wanted = f"arn:aws:sts::{account}:assumed-role/{roles[0]}/{person.login.user_name}"
    assert identity(aws) == wanted

    # Twelve minutes left: the next command refreshes, and keeps a refresh token for the one after.
    for _ in range(2):
        before = home.leave_minutes(12)
        assert identity(aws) == wanted
        after = home.token()
        assert after["accessToken"] != before["accessToken"] and after["refreshToken"]

    last = cached(home)
    assert aws.run("sso", "logout").returncode == 0
    assert not home.token_file().exists()
    doorward.api.assert_dead(last)


def test_login_by_device_without_sso_session(aws: AwsCli, home: Home, person: Person, doorward: Doorward):
    """The legacy profile: no scopes, hence eight hours and no refresh token."""
    with aws.start("sso", "login", "--profile", LEGACY_PROFILE, "--no-browser") as waiting:
        person.approve_device(waiting.device_url())
        assert waiting.finish() == 0, waiting.output
    assert not home.token(doorward.alias).get("refreshToken")
    assert identity(aws, LEGACY_PROFILE).endswith(f"/{person.login.user_name}")


def test_denied_device_login_ends_with_access_denied(aws: AwsCli, home: Home, person: Person):
    with aws.start(*NEW_LOGIN, "--use-device-code") as waiting:
        person.deny_device(waiting.device_url())
        assert waiting.finish() == 254, waiting.output
    assert "AccessDeniedException" in waiting.output and not home.token_file().exists()


def test_expired_device_login_ends_by_itself(aws: AwsCli, home: Home, doorward: Doorward):
    with aws.start(*NEW_LOGIN, "--use-device-code") as waiting:
        waiting.device_url()
        doorward.advance_clock(601)
        assert waiting.finish() == 255, waiting.output
    assert "expired" in waiting.output and not home.token_file().exists()


def test_denied_pkce_login_ends_with_an_error(aws: AwsCli, home: Home, person: Person):
    with aws.start(*NEW_LOGIN) as waiting:
        page = person.decide(waiting.authorize_url(), "Deny")
        assert page.callback["error"] == "access_denied" and page.callback["error_description"]
        person.deliver(page)
        assert waiting.finish() != 0, waiting.output
    assert not home.token_file().exists()


def test_role_that_is_not_assigned_is_forbidden_and_keeps_the_login(aws: AwsCli, home: Home, person: Person, doorward: Doorward):
    login_by_device(aws, person)
    access = home.token()["accessToken"]
    account, _ = doorward.api.first_role(access)
    home.configure(account, "NobodyHasThisRole")
    done = aws.run("sts", "get-caller-identity", "--profile", PROFILE)
    assert done.returncode == 254 and "ForbiddenException" in done.stderr and "No access" in done.stderr, done
    assert doorward.api.accounts(access).status == 200


def test_ended_session_is_reported_as_such(aws: AwsCli, home: Home, person: Person, doorward: Doorward):
    login_by_device(aws, person)
    doorward.api.logout(home.token()["accessToken"])
    done = aws.run("sts", "get-caller-identity", "--profile", PROFILE)
    assert done.returncode == 255 and "SSO session associated with this profile has expired" in done.stderr, done


def test_t70_configure_sso_against_a_plain_http_start_url(aws: AwsCli, home: Home, person: Person, doorward: Doorward):
    """A dialogue on a terminal; the answers are what a person would type, and Enter picks what the menus offer first."""
    home.config.unlink()
    assert doorward.start_url.startswith("http://127.0.0.1:")
    words = ["configure", "sso", "--no-browser", "--use-device-code"]
    surroundings = {**home.environment, "TERM": "xterm"}
    dialogue = pexpect.spawn(
        str(aws.program), words, env=surroundings, cwd=str(home.folder), encoding="utf-8", timeout=30, dimensions=(50, 200)
    )
    # A terminal answers when it is asked where its cursor is, and the prompts wait for that.
    replies = {
        r"\x1b\[6n": lambda: dialogue.send("\x1b[1;1R"),
        r"SSO session name": lambda: dialogue.send("mine\r"),
        r"SSO start URL": lambda: dialogue.send(doorward.start_url + "\r"),
        r"SSO region": lambda: dialogue.send(doorward.region + "\r"),
        r"SSO registration scopes": lambda: dialogue.send("\r"),
        r"https?://[^\s\x1b]+[?&]user_code=[A-Z-]+": lambda: person.approve_device(dialogue.after),
        r"accounts available to you": lambda: dialogue.send("\r"),
        r"roles available to you": lambda: dialogue.send("\r"),
        r"(?i)default client region": lambda: dialogue.send(doorward.region + "\r"),
        r"(?i)default output format": lambda: dialogue.send("\r"),
        r"(?i)profile name \[": lambda: dialogue.send("mine\r"),
        pexpect.EOF: None,
    }
    # Each question is answered once; redrawing a prompt repeats its text.
    open_questions = dict(replies)
    said = ""
    try:
        while True:
            patterns = list(open_questions)
            found = patterns[dialogue.expect(patterns)]
            said += str(dialogue.before) + str(dialogue.after if isinstance(dialogue.after, str) else "")
            if found is pexpect.EOF:
                break
            open_questions[found]()
            if found != r"\x1b\[6n":
                del open_questions[found]
    except pexpect.TIMEOUT:
        pytest.fail(f"the dialogue stopped after:\n{said}{dialogue.before}", pytrace=False)
    finally:
        dialogue.close(force=True)
    assert dialogue.exitstatus == 0, said
    written = home.config.read_text()
    assert re.search(rf"sso_start_url\s*=\s*{re.escape(doorward.start_url)}", written), written
    assert identity(aws, "mine").endswith(f"/{person.login.user_name}")
