"""Chromium in front of the pages: both flows, what goes wrong in them, the portal, the keyboard, the small screen.

The screenshots under target/e2e/shots/ are for a person to look at; no test compares them.
"""

from __future__ import annotations

import re
import time
from configparser import ConfigParser
from urllib.parse import urlsplit

import boto3
import pytest
from playwright.sync_api import Browser, Page, expect

from support.api import Pkce, Tokens, register_for_pkce, tokens
from support.home import SESSION, AwsCli, Home
from support.person import Person
from support.places import TARGET
from support.server import Doorward, Login

SHOTS = TARGET / "shots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Watch:
    """Opens pages, and holds against them what the browser complains about: refused scripts, styles and redirects."""

    def __init__(self, browser: Browser, server: Doorward):
        self.browser, self.server = browser, server
        self.contexts, self.complaints = [], []

    def open(self, **options) -> Page:
        context = self.browser.new_context(**{"viewport": DESK, **options})
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("request", self._request)
        return page

    def _console(self, message) -> None:
        # Chromium reports every 4xx document here too; those are what some tests are about.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _request(self, request) -> None:
        host = urlsplit(request.url).hostname
        if request.url.startswith("http") and host != "127.0.0.1":
            self.complaints.append(f"request to another host: {request.url}")


@pytest.fixture
def watch(chromium: Browser, doorward: Doorward):
    watch = Watch(chromium, doorward)
    yield watch
    for context in watch.contexts:
        context.close()
    assert not watch.complaints, watch.complaints


@pytest.fixture
def login(doorward: Doorward) -> Login:
    return doorward.people[0]


class Tool:
    """A tool that asked for a device login and waits."""

    def __init__(self, server: Doorward, name: str = "e2e"):
        self.server, self.client = server, server.api.register(clientName=name)
        self.request = server.api.start_device(self.client)

    @property
    def code(self) -> str:
        return self.request["userCode"]

    @property
    def url(self) -> str:
        return self.request["verificationUriComplete"]

    def poll(self):
        return self.server.api.poll(self.client, self.request["deviceCode"])

    def tokens(self) -> Tokens:
        return tokens(self.client, self.poll())


def sign_in(page: Page, login: Login) -> None:
    page.get_by_label("User name").fill(login.user_name)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()


def confirm_code(page: Page) -> None:
    page.get_by_role("button", name="Continue").click()


def approve(page: Page) -> None:
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


# --- Device flow


def test_device_flow_from_the_complete_address(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward, "Laptop of Ada")
    page = watch.open()
    page.goto(asking.url)
    sign_in(page, login)
    expect(page.get_by_label("Code")).to_have_value(asking.code)
    confirm_code(page)
    # Who asks, for what, from where and when: what a person needs to refuse somebody else's request.
    main = page.get_by_role("main")
    for fact in ("Laptop of Ada", "sso:account:access", "127.0.0.1", asking.code):
        expect(main).to_contain_text(fact)
    expect(page.locator("time")).not_to_have_count(0)
    assert asking.poll().error == "AuthorizationPendingException"
    approve(page)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert doorward.api.accounts(asking.tokens().access).status == 200


TYPED = {"lower case": str.lower, "no dash": lambda code: code.replace("-", ""), "spaces": lambda code: f"  {code} "}


@pytest.mark.parametrize("typed", TYPED.values(), ids=TYPED.keys())
def test_t30_code_is_accepted_as_people_type_it(watch: Watch, doorward: Doorward, login: Login, typed):
    asking = Tool(doorward)
    page = watch.open()
    page.goto(asking.request["verificationUri"])
    sign_in(page, login)
    page.get_by_label("Code").fill(typed(asking.code))
    confirm_code(page)
    approve(page)
    assert asking.tokens().access


def test_wrong_password_is_said_and_leads_nowhere(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward)
    page = watch.open()
    page.goto(asking.url)
    for user_name, password in ((login.user_name, "wrong"), ("nobody", "wrong")):
        sign_in(page, Login(user_name, password))
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_label("Password")).to_have_value("")
    said = page.get_by_role("alert").inner_text()
    sign_in(page, Login(login.user_name, "wrong"))
    assert page.get_by_role("alert").inner_text() == said, "the page tells who exists"
    # The right one goes on to where the person wanted to go.
    sign_in(page, login)
    expect(page.get_by_label("Code")).to_have_value(asking.code)


def test_wrong_code_is_said_and_another_may_be_typed(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward)
    page = watch.open()
    page.goto(asking.request["verificationUri"])
    sign_in(page, login)
    for wrong in ("BBBB-BBBB", "nonsense", "<b>&"):
        page.get_by_label("Code").fill(wrong)
        confirm_code(page)
        expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Code").fill(asking.code)
    confirm_code(page)
    approve(page)
    assert asking.tokens().access


def test_denied_device_request_is_denied_for_the_tool(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward)
    page = watch.open()
    page.goto(asking.url)
    sign_in(page, login)
    confirm_code(page)
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("button", name="Deny")).to_have_count(0)
    assert asking.poll().error == "AccessDeniedException"


def test_expired_device_request_says_so(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward)
    page = watch.open()
    page.goto(asking.url)
    sign_in(page, login)
    confirm_code(page)
    doorward.advance_clock(601)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("main")).to_contain_text(re.compile("expired|too old|no longer", re.I))
    assert asking.poll().error == "ExpiredTokenException"


# Holds: ledger-30
def test_client_name_is_text_and_never_markup(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward, "<img src=x onerror=alert(1)>")
    page = watch.open()
    page.goto(asking.url)
    sign_in(page, login)
    confirm_code(page)
    expect(page.get_by_role("main")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("img").count() == 0


# --- PKCE, with the command line waiting on loopback


@pytest.fixture(params=["trixie", "sid"])
def aws(request, home: Home) -> AwsCli:
    return AwsCli(request.param, home)


def test_t31_pkce_flow_ends_in_the_waiting_cli(watch: Watch, aws: AwsCli, home: Home, login: Login, doorward: Doorward):
    page = watch.open()
    with aws.start("sso", "login", "--sso-session", SESSION, "--no-browser") as waiting:
        page.goto(waiting.authorize_url())
        sign_in(page, login)
        # A policy on form targets must let this redirect leave for the tool.
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url(re.compile(r"^http://127\.0\.0\.1:\d+/oauth/callback\?"))
        assert waiting.finish() == 0, waiting.output
    assert doorward.api.accounts(home.token()["accessToken"]).status == 200


def test_t36_denied_pkce_flow_ends_the_waiting_cli(watch: Watch, aws: AwsCli, home: Home, login: Login):
    page = watch.open()
    with aws.start("sso", "login", "--sso-session", SESSION, "--no-browser") as waiting:
        page.goto(waiting.authorize_url())
        sign_in(page, login)
        page.get_by_role("button", name="Deny").click()
        page.wait_for_url(re.compile(r"^http://127\.0\.0\.1:\d+/oauth/callback\?.*error=access_denied"))
        assert waiting.finish() != 0, waiting.output
    assert not home.token_file().exists()


# --- The portal page


def test_portal_shows_credentials_that_work(watch: Watch, doorward: Doorward, login: Login):
    access = doorward.api.sign_in(Person(login)).access
    account, role = doorward.api.first_role(access)
    page = watch.open()
    page.goto(doorward.start_url)
    sign_in(page, login)
    expect(page.get_by_role("main")).to_contain_text(account)
    row = page.locator("details").filter(has_text=account)
    row.get_by_role("link", name=f"Get credentials for {role} in", exact=False).click()

    shown = page.get_by_role("main").inner_text()
    exported = dict(re.findall(r"export (AWS_[A-Z_]+)=\"?'?([^\s\"']+)", shown))
    caller = identity(doorward, exported["AWS_ACCESS_KEY_ID"], exported["AWS_SECRET_ACCESS_KEY"], exported["AWS_SESSION_TOKEN"])
    assert caller == f"arn:aws:sts::{account}:assumed-role/{role}/{login.user_name}"

    block = re.search(r"(?m)^\[[^\]\n]+\]\n(?:aws_\w+\s*=.*\n?)+", shown)
    assert block, shown
    profiles = ConfigParser()
    profiles.read_string(block.group(0))
    given = dict(profiles[profiles.sections()[0]])
    assert identity(doorward, given["aws_access_key_id"], given["aws_secret_access_key"], given["aws_session_token"]) == caller


def identity(server: Doorward, key: str, secret: str, token: str) -> str:
    sts = boto3.client(
        "sts",
        endpoint_url=server.oidc_endpoint,
        region_name=server.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )
    return sts.get_caller_identity()["Arn"]


def test_ending_a_session_ends_its_tokens_and_no_others(watch: Watch, doorward: Doorward, login: Login):
    kept = doorward.api.sign_in(Person(login))
    asking = Tool(doorward, "to be ended")
    Person(login).approve_device(asking.url)
    doomed = asking.tokens()
    page = watch.open()
    page.goto(doorward.start_url)
    sign_in(page, login)
    row = page.get_by_role("listitem").filter(has_text="to be ended")
    row.get_by_role("button", name=re.compile("^End")).click()
    expect(page.get_by_role("listitem").filter(has_text="to be ended")).to_have_count(0)
    doorward.api.assert_dead(doomed)
    assert doorward.api.accounts(kept.access).status == 200


def test_portal_shows_nobody_elses_sessions(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward, "somebody else's")
    Person(doorward.people[1]).approve_device(asking.url)
    page = watch.open()
    page.goto(doorward.start_url)
    sign_in(page, login)
    expect(page.get_by_role("main")).not_to_contain_text("somebody else's")


def test_sign_out_ends_the_browser_session(watch: Watch, doorward: Doorward, login: Login):
    page = watch.open()
    page.goto(doorward.start_url)
    sign_in(page, login)
    stolen = page.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    page.goto(doorward.start_url)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    # A copy of the cookie, kept from before, opens nothing either.
    page.context.add_cookies(stolen)
    page.goto(doorward.start_url)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


# --- Everybody can use it


def tab_to(page: Page, name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("() => (document.activeElement.innerText || '').trim()")
        if focused.startswith(name):
            visible = page.evaluate(
                """() => { const s = getComputedStyle(document.activeElement);
                           return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none'; }"""
            )
            assert visible, f"nobody sees that {name!r} has the focus"
            return
    raise AssertionError(f"Tab never reaches {name!r}")


def test_device_flow_with_the_keyboard_alone(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward)
    page = watch.open()
    page.goto(asking.request["verificationUri"])
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type(login.user_name)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(login.password)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.type(asking.code)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    # Enter alone, pressed once too often, approves nothing.
    page.keyboard.press("Enter")
    time.sleep(0.3)
    assert asking.poll().error == "AuthorizationPendingException"
    tab_to(page, "Approve")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert asking.tokens().access


def test_everything_works_without_script(watch: Watch, doorward: Doorward, login: Login):
    asking = Tool(doorward, "no script")
    page = watch.open(java_script_enabled=False)
    page.goto(asking.url)
    sign_in(page, login)
    confirm_code(page)
    approve(page)
    login_tokens = asking.tokens()
    page.goto(doorward.start_url)
    page.get_by_role("link", name=re.compile("^Get credentials|credentials", re.I)).first.click()
    expect(page.get_by_role("main")).to_contain_text("AWS_SESSION_TOKEN")
    page.goto(doorward.start_url)
    page.get_by_role("listitem").filter(has_text="no script").get_by_role("button", name=re.compile("^End")).click()
    doorward.api.assert_dead(login_tokens)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "viewport"), [("desk", DESK), ("phone", PHONE)])
def test_pages_fit_the_screen_and_are_photographed(watch: Watch, doorward: Doorward, login: Login, scheme, device, viewport):
    asking, refused, late = Tool(doorward, "botocore-client-doorward"), Tool(doorward), Tool(doorward)
    page = watch.open(viewport=viewport, color_scheme=scheme)
    SHOTS.mkdir(parents=True, exist_ok=True)
    number = 0

    def look(name: str) -> None:
        nonlocal number
        number += 1
        page.screenshot(path=SHOTS / f"{device}-{scheme}-{number:02}-{name}.png", full_page=True)
        wide, room = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"{name} scrolls sideways: {wide} > {room}"

    page.goto(asking.request["verificationUri"])
    look("sign-in")
    sign_in(page, Login(login.user_name, "wrong"))
    look("wrong-password")
    sign_in(page, login)
    look("device")
    page.get_by_label("Code").fill("BBBB-BBBB")
    confirm_code(page)
    look("wrong-code")
    page.goto(asking.url)
    confirm_code(page)
    look("decision")
    approve(page)
    look("approved")
    page.goto(refused.url)
    confirm_code(page)
    page.get_by_role("button", name="Deny").click()
    look("denied")
    assert asking.tokens().access
    page.goto(doorward.start_url)
    look("portal")
    page.get_by_role("link", name=re.compile("credentials", re.I)).first.click()
    look("role")
    page.goto(Pkce(doorward.api, register_for_pkce(doorward.api)).url)
    look("consent")
    page.goto(f"{doorward.oidc_endpoint}/authorize?client_id=unknown&response_type=code")
    look("error")
    page.goto(f"{doorward.oidc_endpoint}/no-such-page")
    look("not-found")
    page.goto(late.url)
    confirm_code(page)
    doorward.advance_clock(601)
    page.get_by_role("button", name="Approve").click()
    look("expired")
    page.get_by_role("button", name="Sign out").click()
    look("signed-out")
