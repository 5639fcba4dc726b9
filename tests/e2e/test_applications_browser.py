"""Chromium between a person and an application: consent and its memory, signing in anew, signing out.

The screenshots under target/e2e/shots/ are for a person to look at; no test compares them.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from support.application import AFTERWARDS, Application
from support.places import TARGET
from support.server import Doorward, Login

SHOTS = TARGET / "shots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def opened(chromium: Browser):
    """Opens pages, and holds against them what the browser complains about, such as refused scripts and redirects."""
    contexts, complaints = [], []

    def complain(message) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def open_page(**options) -> Page:
        context = chromium.new_context(**{"viewport": DESK, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        made_up = {"content_type": "text/html", "body": "<h1>Back at the application</h1>"}
        context.route(re.compile(f"^{re.escape(AFTERWARDS)}([?].*)?$"), lambda route: route.fulfill(**made_up))
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints, complaints


@pytest.fixture
def application(doorward: Doorward):
    application = Application(doorward.oidc_endpoint)
    yield application
    application.close()


@pytest.fixture
def login(doorward: Doorward) -> Login:
    return doorward.people[0]


def sign_in(page: Page, login: Login) -> None:
    page.get_by_label("User name").fill(login.user_name)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Sign in").click()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def back(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Back at the application")


def let_in(page: Page, application: Application, login: Login, **more: str) -> dict:
    """Somebody who is not signed in lets the application in; its tokens."""
    page.goto(application.authorize(**more))
    sign_in(page, login)
    press(page, "Approve")
    back(page)
    return application.tokens(application.answer(page.url)["code"])


def test_consent_is_asked_once_and_again_for_more(opened, application: Application, login: Login):
    page = opened()
    page.goto(application.authorize())
    expect(page.get_by_role("main")).to_contain_text("to continue to “Demo web application”")
    sign_in(page, login)
    main = page.get_by_role("main")
    for words in ("Demo web application", "know who you are", "see your orders", "https://orders.example.com", "127.0.0.1:"):
        expect(main).to_contain_text(words)
    press(page, "Approve")
    back(page)
    assert application.tokens(application.answer(page.url)["code"])["scope"] == "openid orders:read"
    # No question, and no page of ours in between.
    page.goto(application.authorize())
    back(page)
    assert "code" in application.answer(page.url)
    page.goto(application.authorize(scope="openid orders:read email"))
    expect(page.get_by_role("main")).to_contain_text("see your e-mail address")
    press(page, "Deny")
    back(page)
    assert application.answer(page.url)["error"] == "access_denied"


def test_whoever_agreed_is_sent_on_by_the_sign_in(opened, application: Application, login: Login):
    let_in(opened(), application, login)
    # The sign-in form ends at the application: browsers must be allowed to follow.
    page = opened()
    page.goto(application.authorize())
    sign_in(page, login)
    back(page)
    assert "code" in application.answer(page.url)


def test_what_was_agreed_to_is_taken_back_on_the_portal_page(opened, application: Application, doorward: Doorward, login: Login):
    page = opened()
    tokens = let_in(page, application, login)
    page.goto(doorward.start_url)
    section = page.get_by_role("region", name="Applications you let in")
    for words in ("Demo web application", "see your orders", "https://orders.example.com"):
        expect(section).to_contain_text(words)
    section.get_by_role("button", name=re.compile("^Withdraw")).click()
    expect(page.get_by_role("region", name="Applications you let in")).to_have_count(0)
    assert application.refresh(tokens["refresh_token"]).body["error"] == "invalid_grant"
    page.goto(application.authorize())
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def test_a_sign_in_that_must_be_new_is_new(opened, application: Application, login: Login):
    page = opened()
    let_in(page, application, login)
    page.goto(application.authorize(prompt="login"))
    expect(page.get_by_role("main")).to_contain_text("again to continue to “Demo web application”")
    # Neither the way back nor another visit is a way round.
    page.reload()
    sign_in(page, Login(login.user_name, "wrong"))
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, login)
    back(page)
    assert "code" in application.answer(page.url)
    page.goto(application.authorize(prompt="none"))
    back(page)
    assert "code" in application.answer(page.url)


def test_without_a_session_a_silent_request_comes_back_at_once(opened, application: Application):
    page = opened()
    page.goto(application.authorize(prompt="none"))
    back(page)
    assert application.answer(page.url)["error"] == "login_required"


def test_a_form_of_another_site_is_as_good(opened, application: Application, login: Login):
    page = opened()
    let_in(page, application, login)
    action, _, query = application.authorize().partition("?")
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{value}">'
        for name, _, value in (pair.partition("=") for pair in query.replace("+", " ").split("&"))
    )
    fields = fields.replace("%3A", ":").replace("%2F", "/")
    page.route("http://app.example/", lambda route: route.fulfill(
        content_type="text/html", body=f'<form method="post" action="{action}">{fields}<button>Go</button></form>'))
    page.goto("http://app.example/")
    press(page, "Go")
    back(page)
    assert "code" in application.answer(page.url)


def test_an_application_signs_out_and_another_page_asks(opened, application: Application, doorward: Doorward, login: Login):
    page = opened()
    tokens = let_in(page, application, login)
    page.goto(application.sign_out(client_id="demo-web", post_logout_redirect_uri=AFTERWARDS, state="s"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign out?")
    # Enter alone signs nobody out.
    press(page, "Stay signed in")
    expect(page.get_by_role("main")).to_contain_text("You are still signed in")
    assert application.refresh(tokens["refresh_token"]).status == 200
    page.goto(application.sign_out(client_id="demo-web", post_logout_redirect_uri=AFTERWARDS, state="s"))
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    back(page)
    assert page.url == f"{AFTERWARDS}?state=s"
    page.goto(doorward.start_url)
    expect(page.get_by_label("User name")).to_be_visible()
    # And with its ID token, the application asks nobody.
    tokens = let_in_again(page, application, login)
    url = application.sign_out(id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTERWARDS)
    answer = page.request.get(url, max_redirects=0)
    assert (answer.status, answer.headers["location"]) == (302, AFTERWARDS)
    page.goto(doorward.start_url)
    expect(page.get_by_label("User name")).to_be_visible()
    assert application.refresh(tokens["refresh_token"]).body["error"] == "invalid_grant"


def let_in_again(page: Page, application: Application, login: Login) -> dict:
    page.goto(application.authorize())
    sign_in(page, login)
    back(page)
    return application.tokens(application.answer(page.url)["code"])


def tab_to(page: Page, name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => (document.activeElement.innerText || '').trim()").startswith(name):
            return
    raise AssertionError(f"Tab never reaches {name!r}")


def test_all_of_it_with_the_keyboard_alone(opened, application: Application, doorward: Doorward, login: Login):
    page = opened()
    page.goto(application.authorize())
    # Browsers move the focus a moment after the page is there.
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type(login.user_name)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(login.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    tab_to(page, "Approve")
    page.keyboard.press("Enter")
    back(page)
    page.goto(doorward.start_url)
    tab_to(page, "Withdraw")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Applications you let in")).to_have_count(0)
    page.goto(application.sign_out())
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign out?")
    tab_to(page, "Stay")
    tab_to(page, "Sign out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("You are signed out")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "viewport"), [("desk", DESK), ("phone", PHONE)])
def test_pages_fit_the_screen_and_are_photographed(opened, application: Application, doorward: Doorward, login: Login, scheme, device, viewport):
    page = opened(viewport=viewport, color_scheme=scheme)
    SHOTS.mkdir(parents=True, exist_ok=True)

    def look(name: str) -> None:
        page.screenshot(path=SHOTS / f"application-{device}-{scheme}-{name}.png", full_page=True)
        wide, room = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"{name} scrolls sideways: {wide} > {room}"

    page.goto(application.authorize(scope="openid profile email groups offline_access orders:read"))
    look("1-sign-in")
    sign_in(page, login)
    look("2-consent")
    press(page, "Approve")
    back(page)
    page.goto(application.authorize(prompt="login"))
    look("3-sign-in-again")
    page.goto(doorward.start_url)
    look("4-portal")
    page.goto(application.sign_out(client_id="demo-web", post_logout_redirect_uri=AFTERWARDS))
    look("5-sign-out")
    press(page, "Stay signed in")
    look("6-stayed")
