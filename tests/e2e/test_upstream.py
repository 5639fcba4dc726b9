"""People who sign in with their company account: npm's oidc-provider, Chromium, and the AWS CLI."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support import provider as upstream
from support.api import Answer, Tokens, assert_refused_refresh, ok
from support.home import PROFILE, SESSION, AwsCli, Home
from support.person import Person
from support.places import TARGET
from support.postgres import Postgres
from support.provider import DIRECTORY, SECRET, Provider
from support.site import ADA, Site, doorward

SHOTS = TARGET / "shots"
RECHECK, TRUST = 5, 15
ACCOUNT = "111122223333"


@pytest.fixture
def open_page(chromium: Browser):
    """Pages of people's own, which reach this machine alone."""
    contexts, complaints = [], []

    def opened(**options) -> Page:
        context = chromium.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        # The provider's pages want fonts from elsewhere.
        context.route(lambda url: not url.startswith("http://127.0.0.1:"), lambda route: route.abort())
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints, complaints


@pytest.fixture
def provider(site: Site, tmp_path: Path):
    provider = Provider(tmp_path / "provider", site)
    with (site.folder / "directory.toml").open("a") as directory:
        directory.write(DIRECTORY)
    (site.folder / "corp.secret").write_text(SECRET + "\n")
    site.configure(more=provider.configuration())
    provider.start()
    yield provider
    provider.stop()
    print(provider.log()[-3000:])


@pytest.fixture
def running(site: Site, provider: Provider) -> Site:
    site.start()
    return site


class ThroughSource:
    """A person for the API's sign-in who uses the browser and the source."""

    def __init__(self, page: Page):
        self.page = page

    def approve_device(self, url: str) -> None:
        self.page.goto(url)
        if self.page.get_by_role("button", name="Continue with").count():
            upstream.sign_in(self.page)
        self.page.get_by_role("button", name="Continue").click()
        self.page.get_by_role("button", name="Approve").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Approved")


def roles(site: Site, tokens: Tokens) -> list[str]:
    listed = ok(site.api.portal("/assignment/roles", tokens.access, account_id=ACCOUNT))["roleList"]
    return [role["roleName"] for role in listed]


def refresh(site: Site, tokens: Tokens) -> Answer:
    answer = site.api.refresh(tokens)
    if answer.status == 200:
        tokens.access, tokens.refresh = answer.body["accessToken"], answer.body["refreshToken"]
    return answer


def logged(site: Site, *parts: str) -> str:
    """The one kind of line with all of these in it, which must be there."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", site.log.read_text())
    lines = [line for line in text.splitlines() if all(part in line for part in parts)]
    assert lines, f"no line with {parts} in:\n{text}"
    return lines[-1]


# --- Signing in


def test_company_account_leads_to_the_portal_page(running: Site, open_page):
    page = open_page()
    page.goto(f"{running.base}/start")
    upstream.sign_in(page)
    page.wait_for_url(f"{running.base}/start")
    main = page.get_by_role("main")
    expect(main).to_contain_text("Develop")
    expect(main).not_to_contain_text("Administer")
    expect(page.get_by_text("Zoe Example")).to_be_visible()
    logged(running, "audit", "signed_in", "person=zoe", 'source="corp"')
    # And out, and in again without a word, since the provider still knows them.
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{running.base}/start")
    upstream.press(page)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{running.base}/start")


def test_local_people_sign_in_beside_it(running: Site, open_page):
    page = open_page()
    page.goto(f"{running.base}/start")
    page.get_by_label("User name").fill(ADA.user_name)
    page.get_by_label("Password").fill(ADA.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("ReadOnly")
    assert running.api.accounts(running.api.sign_in(Person(ADA)).access).status == 200


def test_everything_works_without_script(running: Site, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(f"{running.base}/start")
    upstream.sign_in(page)
    page.wait_for_url(f"{running.base}/start")


def test_who_turns_back_there_is_not_signed_in(running: Site, open_page):
    page = open_page()
    page.goto(f"{running.base}/start")
    upstream.press(page)
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are not signed in")
    line = logged(running, "sign_in_refused", "source=corp", 'step="callback"', "access_denied")
    assert page.locator(".reference code").inner_text() in line
    page.get_by_role("link", name="Back to sign-in").click()
    expect(page.get_by_role("button", name="Continue with Company account")).to_be_visible()


def test_address_of_ones_own_way_back_signs_nobody_else_in(running: Site, open_page):
    hers, his = open_page(), open_page()
    hers.goto(f"{running.base}/sign-in")
    his.goto(f"{running.base}/start")
    with his.expect_request(re.compile(r"/sign-in/corp/callback\?")) as back:
        upstream.sign_in(his)
    hers.goto(back.value.url)
    expect(hers.get_by_role("heading", level=1)).to_have_text("You are not signed in")
    logged(running, "sign_in_refused", "state is of another browser")
    hers.goto(f"{running.base}/start")
    expect(hers.get_by_role("button", name="Continue with Company account")).to_be_visible()


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_aws_sso_login_by_pkce(running: Site, open_page, tmp_path: Path, suite: str):
    home = Home(tmp_path / "home", running)
    home.configure(ACCOUNT, "Develop")
    aws, page = AwsCli(suite, home), open_page()
    with aws.start("sso", "login", "--sso-session", SESSION, "--no-browser") as waiting:
        page.goto(waiting.authorize_url())
        upstream.sign_in(page)
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url(re.compile(r"^http://127\.0\.0\.1:\d+/oauth/callback\?"))
        assert waiting.finish() == 0, waiting.output
    assert aws.json("configure", "export-credentials", "--profile", PROFILE)["AccessKeyId"]


def test_aws_sso_login_by_device_code(running: Site, open_page, tmp_path: Path):
    home = Home(tmp_path / "home", running)
    home.configure(ACCOUNT, "Develop")
    aws, page = AwsCli("sid", home), open_page()
    with aws.start("sso", "login", "--sso-session", SESSION, "--no-browser", "--use-device-code") as waiting:
        ThroughSource(page).approve_device(waiting.device_url())
        assert waiting.finish() == 0, waiting.output
    assert aws.json("configure", "export-credentials", "--profile", PROFILE)["AccessKeyId"]


# --- What happens later


def test_groups_decide_the_roles_and_are_asked_about_again(running: Site, provider: Provider, open_page):
    tokens = running.api.sign_in(ThroughSource(open_page()))
    assert roles(running, tokens) == ["Develop"]
    provider.say(zoe={**provider.people["zoe"], "groups": ["admins", "unknown here"]})
    time.sleep(RECHECK)
    assert roles(running, tokens) == ["Administer"]
    # Each refresh token of the source is used once, whoever comes: it would end the session there otherwise.
    for _ in range(3):
        time.sleep(RECHECK + 0.5)
        assert refresh(running, tokens).status == 200
    assert provider.refreshed() == 4
    assert "refused refresh_token" not in provider.log()


def test_nodes_ask_once_together(site: Site, provider: Provider, postgres: Postgres, open_page, tmp_path: Path):
    """The provider ends a session whose refresh token comes twice; of all requests on both nodes one may ask."""
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other")
    for file in ("directory.toml", "corp.secret"):
        (other.folder / file).write_text((site.folder / file).read_text())
    other.configure(more=provider.configuration())
    for node in (site, other):
        node.share(postgres.url)
        node.start()
    try:
        tokens = site.api.sign_in(ThroughSource(open_page()))
        for asked in range(1, 4):
            # The last time when nothing holds any more, so that all but one must wait.
            time.sleep((TRUST if asked == 3 else RECHECK) + 0.5)
            with ThreadPoolExecutor(32) as pool:
                answers = list(pool.map(lambda n: (site, other)[n % 2].api.accounts(tokens.access), range(64)))
            assert {answer.status for answer in answers} == {200}, answers
            assert provider.refreshed() == asked
        assert "refused refresh_token" not in provider.log()
    finally:
        other.kill()


def test_person_who_is_removed_there_is_out_within_the_time_configured(running: Site, provider: Provider, open_page):
    page = open_page()
    tokens = running.api.sign_in(ThroughSource(page))
    assert refresh(running, tokens).status == 200
    provider.say()
    time.sleep(RECHECK)
    assert_refused_refresh(refresh(running, tokens))
    running.api.assert_dead(tokens)
    page.goto(f"{running.base}/start")
    expect(page.get_by_role("button", name="Continue with Company account")).to_be_visible()
    logged(running, "audit", "person_gone", "person=zoe", "source=corp")


def test_outage_of_the_source_logs_nobody_out(running: Site, provider: Provider, open_page):
    page = open_page()
    tokens = running.api.sign_in(ThroughSource(page))
    provider.stop()
    time.sleep(RECHECK)
    assert refresh(running, tokens).status == 200, "its last word holds"
    time.sleep(TRUST - RECHECK)
    answer = refresh(running, tokens)
    assert (answer.status, answer.error) == (500, "InternalServerException"), answer
    logged(running, "ERROR", "the identity source corp cannot be asked about zoe")
    page.goto(f"{running.base}/start")
    expect(page.get_by_role("main")).to_contain_text("Something went wrong here")
    # Nobody can sign in through it either, and everybody else can.
    other = open_page()
    other.goto(f"{running.base}/start")
    assert running.api.accounts(running.api.sign_in(Person(ADA)).access).status == 200
    provider.start()
    deadline = time.monotonic() + 15
    while (answer := refresh(running, tokens)).status != 200:
        assert answer.status == 500 and time.monotonic() < deadline, answer
        time.sleep(0.5)
    assert roles(running, tokens) == ["Develop"]
    page.goto(f"{running.base}/start")
    expect(page.get_by_role("main")).to_contain_text("Develop")


def test_server_starts_while_its_source_is_down(site: Site, provider: Provider, open_page):
    provider.stop()
    site.start()
    logged(site, "ERROR", "nobody can sign in through this identity source", "source=corp")
    page = open_page()
    page.goto(f"{site.base}/start")
    page.get_by_role("button", name="Continue with Company account").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You cannot sign in this way at the moment")
    assert site.api.accounts(site.api.sign_in(Person(ADA)).access).status == 200
    provider.start()
    page.goto(f"{site.base}/start")
    upstream.sign_in(page)
    page.wait_for_url(f"{site.base}/start")


def test_new_keys_of_the_source_are_good_at_once(running: Site, provider: Provider, open_page):
    first = open_page()
    tokens = running.api.sign_in(ThroughSource(first))
    provider.rotate_keys()
    page = open_page()
    page.goto(f"{running.base}/start")
    upstream.sign_in(page)
    page.wait_for_url(f"{running.base}/start")
    provider.rotate_keys()
    time.sleep(max(RECHECK, 10))
    assert refresh(running, tokens).status == 200
    assert roles(running, tokens) == ["Develop"]


@pytest.mark.parametrize(("ahead", "outcome"), [(45, "in"), (90, "out")])
def test_clock_of_the_source_may_differ_by_the_allowance(running: Site, provider: Provider, open_page, ahead, outcome):
    provider.restart(clock_ahead=ahead)
    page = open_page()
    page.goto(f"{running.base}/start")
    upstream.sign_in(page)
    if outcome == "in":
        page.wait_for_url(f"{running.base}/start")
    else:
        expect(page.get_by_role("heading", level=1)).to_have_text("You are not signed in")
        line = logged(running, "sign_in_refused", 'step="id_token"', "do the clocks agree?")
        behind = int(re.search(r"iat is after now by (\d+) s", line).group(1))
        assert abs(behind - ahead) <= 3, line


def test_names_of_others_are_nobodys_way_in(running: Site, provider: Provider, open_page):
    for there, name, reason in [
        ("mallory", "ada", "ada: the directory has a person of that name, without identity_source"),
        ("mallory", "ADA", "ADA: the directory has ada, which differs in the case of letters alone"),
        ("mallory", "a da", "the user name must be"),
    ]:
        provider.say(mallory={**provider.people["zoe"], "preferred_username": name})
        page = open_page()
        page.goto(f"{running.base}/start")
        upstream.sign_in(page, there)
        expect(page.get_by_role("heading", level=1)).to_have_text("You are not signed in")
        expect(page.get_by_role("main")).not_to_contain_text("ada")
        logged(running, "sign_in_refused", reason)
    provider.say(**provider.people, mallory=provider.people["zoe"])
    for there, outcome in [("zoe", "in"), ("mallory", "out")]:
        page = open_page()
        page.goto(f"{running.base}/start")
        upstream.sign_in(page, there)
        if outcome == "in":
            page.wait_for_url(f"{running.base}/start")
        else:
            expect(page.get_by_role("heading", level=1)).to_have_text("You are not signed in")
    logged(running, "sign_in_refused", "zoe: the name belongs to another subject of this source")


# --- For operators


def test_check_asks_each_source(site: Site, provider: Provider):
    done = doorward("check", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 0, done.stdout
    assert f"ok    identity source corp: sends people back to {provider.callback}" in done.stdout, done.stdout
    assert "1 signing keys" in done.stdout and re.search(r"its clock is \d s (behind|ahead of) ours", done.stdout)

    config = site.folder / "doorward.toml"
    right = config.read_text()
    config.write_text(right.replace(provider.issuer, provider.issuer + "/"))
    done = doorward("check", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1
    assert "WRONG identity source corp: nobody can sign in through it: discovery: " in done.stdout, done.stdout
    assert "must be the same to the letter" in done.stdout

    config.write_text(right.replace('"groups", "offline_access"', '"groups", "offline_acces"'))
    done = doorward("check", "-c", "doorward.toml", cwd=site.folder)
    assert "WRONG identity source corp: the scope offline_acces is not among those it offers" in done.stdout, done.stdout

    provider.stop()
    config.write_text(right)
    directory = site.folder / "directory.toml"
    directory.write_text(directory.read_text() + '\n[[people]]\nuser_name = "zoe"\nidentity_source = "copr"\n')
    done = doorward("check", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1
    assert "person zoe: there is no identity source copr; did you mean corp?" in done.stdout, done.stdout
    assert "WRONG identity source corp" in done.stdout and "Connection refused" in done.stdout


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('kind = "saml"', "unknown variant `saml`, expected `oidc`"),
        ("recheck = 900", "identity_sources.corp.recheck = 900 must not be more than trust = 15"),
        ("clock_skew = 3600", "identity_sources.corp.clock_skew must be 0 to 600 seconds"),
        ('issuer = "http://login.example.org"', "identity_sources.corp.issuer must begin with https://"),
        ('client_secret_file = "missing"', "identity_sources.corp.client_secret_file: "),
        ("isuer = 1", "unknown field `isuer`"),
        ('group_names = { x = " y" }', "the group name must be"),
    ],
)
def test_mistakes_in_the_configuration_are_named(site: Site, provider: Provider, wrong: str, said: str):
    key = wrong.split(" = ")[0]
    config = site.folder / "doorward.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith(f"{key} = ")]
    config.write_text("\n".join([*lines, wrong]) + "\n")
    done = doorward("serve", "-c", "doorward.toml", cwd=site.folder)
    assert done.returncode == 1 and said in done.stderr, done.stderr


def without_refresh(route) -> None:
    """The page that leads to the source, held: it goes on at once."""
    answer = route.fetch()
    text, removed = re.subn(r'<meta http-equiv="refresh"[^>]*>', "", answer.text())
    assert removed == 1, text
    route.fulfill(response=answer, body=text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "width"), [("desk", 1280), ("phone", 390)])
def test_pages_fit_the_screen_and_are_photographed(running: Site, open_page, scheme, device, width):
    page = open_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    SHOTS.mkdir(parents=True, exist_ok=True)

    def look(name: str) -> None:
        page.screenshot(path=SHOTS / f"{device}-{scheme}-source-{name}.png", full_page=True)
        wide, room = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"{name} scrolls sideways: {wide} > {room}"

    page.goto(f"{running.base}/sign-in")
    look("sign-in")
    page.route(f"{running.base}/sign-in/corp", without_refresh)
    upstream.press(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("To Company account")
    look("there")
    page.goto(f"{running.base}/sign-in/corp/callback?state=x")
    look("refused")
