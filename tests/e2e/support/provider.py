"""npm's oidc-provider as the identity source of a site: people, groups, keys and clock are the test's to change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from playwright.sync_api import Page

from .places import await_port, free_port, javascript_modules, tool
from .site import Site

SCRIPT = Path(__file__).parents[1] / "js" / "provider.mjs"
SECRET = "s3cret of the client"
DIRECTORY = """
[[groups]]
name = "developers"

[[groups]]
name = "admins"

[[permission_sets]]
name = "Develop"

[[permission_sets]]
name = "Administer"

[[assignments]]
groups = ["developers"]
accounts = ["111122223333"]
permission_sets = ["Develop"]

[[assignments]]
groups = ["admins"]
accounts = ["111122223333"]
permission_sets = ["Administer"]
"""


class Provider:
    def __init__(self, folder: Path, site: Site):
        folder.mkdir()
        self.folder, self.port, self.process = folder, free_port(), None
        self.callback = f"{site.base}/sign-in/corp/callback"
        grants = ["authorization_code", "refresh_token"]
        client = {"client_id": "doorward", "client_secret": SECRET, "redirect_uris": [self.callback], "grant_types": grants}
        self._write("settings.json", {"client": client})
        self.people = {"zoe": {"preferred_username": "zoe", "name": "Zoe Example", "groups": ["developers"]}}
        self.say(**self.people)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def say(self, **people) -> None:
        """Who is there from now on, and what is said of them."""
        self._write("people.json", people)

    def _write(self, name: str, value: object) -> None:
        (self.folder / f"{name}.test").write_text(json.dumps(value))
        (self.folder / f"{name}.test").rename(self.folder / name)

    def start(self, clock_ahead: int = 0) -> None:
        command = [tool("node"), str(SCRIPT), str(javascript_modules().parent), str(self.folder), str(self.port), str(clock_ahead)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        await_port(self.port, self.process, self.log)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self, clock_ahead: int = 0) -> None:
        self.stop()
        self.start(clock_ahead)

    def rotate_keys(self) -> None:
        self.stop()
        (self.folder / "keys.json").unlink()
        self.start()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def refreshed(self) -> int:
        """How often it was asked again about somebody, and had something to say."""
        return self.log().count("granted refresh_token")

    def configuration(self, more: str = "") -> str:
        """What makes it the source `corp` of a site: asked again after five seconds, and trusted for fifteen."""
        return (
            f'[identity_sources.corp]\nkind = "oidc"\nissuer = "{self.issuer}"\nclient_id = "doorward"\n'
            'client_secret_file = "corp.secret"\nlabel = "Company account"\n'
            'scopes = ["openid", "profile", "groups", "offline_access"]\n'
            'authorization_parameters = { prompt = "consent" }\n'
            f"recheck = 5\ntrust = 15\n{more}\n"
        )


def press(page: Page) -> None:
    page.get_by_role("button", name="Continue with Company account").click()


def sign_in(page: Page, person: str = "zoe") -> None:
    """From the sign-in page through the provider, and back."""
    press(page)
    page.get_by_placeholder("Enter any login").fill(person)
    page.get_by_placeholder("and password").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
