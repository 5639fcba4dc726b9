"""The commands that the documentation shows, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import blocks
from support.home import Home
from support.places import ROOT, aws_cli, doorward_binary
from support.server import Doorward
from support.site import certificate, doorward, free_port

# A browser that signs in and approves, as a person would.
BROWSER = """
import sys
sys.path.insert(0, {support!r})
from support.person import Person
from support.server import Login
person = Person(Login({user_name!r}, {password!r}))
page = person.decide(sys.argv[1], "Approve")
person.deliver(page)
"""


@pytest.fixture
def readme_server(serve) -> Doorward:
    """The port that the README names. It must be free, as it must for somebody who reads it."""
    return serve(listen="127.0.0.1:8377")


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_readme_from_login_to_logout(readme_server: Doorward, tmp_path: Path, suite: str):
    readme = ROOT / "README.md"
    (config,) = blocks(readme, "ini")
    (shown,) = blocks(readme, "json")
    login, environment = blocks(readme, "sh")

    home = Home(tmp_path / "home", readme_server)
    home.config.write_text(config)
    # Only what the README sets: no endpoint comes from elsewhere.
    variables = {name: value for name, value in home.environment.items() if not name.startswith("AWS_ENDPOINT_URL")}
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "aws").symlink_to(aws_cli(suite))
    user_name, password = re.search(r"Sign in as `(\w+)`, password `([\w-]+)`", readme.read_text()).groups()
    script = tmp_path / "browser.py"
    script.write_text(BROWSER.format(support=str(ROOT / "tests" / "e2e"), user_name=user_name, password=password))
    opener = tools / "browser"
    # The unpacked CLI runs on a Python of its own, whose surroundings are not this one's.
    opener.write_text(f'#!/bin/sh\nunset PYTHONHOME PYTHONPATH\n{shlex.quote(sys.executable)} {shlex.quote(str(script))} "$1" >>{tmp_path}/browser.log 2>&1 &\n')
    opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
    variables |= {"PATH": f"{tools}:{os.environ['PATH']}", "BROWSER": f"{opener} %s"}

    def bash(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", commands], env=variables, cwd=home.folder, capture_output=True, text=True, timeout=60
        )
        log = tmp_path / "browser.log"
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}{log.read_text() if log.exists() else ''}"
        return done.stdout

    said = bash(login)
    assert json.loads(said[said.index("{") :]) == json.loads(shown)

    # Twelve minutes left, and the same command refreshes.
    before = home.leave_minutes(12)
    bash(login.splitlines()[-1])
    assert home.token()["accessToken"] != before["accessToken"] and home.token()["refreshToken"]

    listed = bash(environment)
    accounts = json.loads(listed[listed.index("{") :])["accountList"]
    assert {account["accountId"] for account in accounts} == {account["id"] for account in readme_server.facts["accounts"]}
    assert not home.token_file().exists(), "aws sso logout removes it"


def test_readme_ci_command_prints_what_it_says(serve, tmp_path: Path):
    (command,) = re.findall(r"(?m)^    doorward (dev --listen .*)$", (ROOT / "README.md").read_text())
    flags = [flag for flag in shlex.split(command)[1:] if flag not in ("--listen", "127.0.0.1:0", "--json")]
    server = serve(*flags)
    promised = re.findall(r"`(\w+)`", re.search(r"ready: (.*?)\. It has a clock", (ROOT / "README.md").read_text(), re.S).group(1))
    assert set(promised) == set(server.facts)
    (example,) = blocks(ROOT / "docs" / "development-server.md", "json")
    assert set(json.loads(example)) == set(server.facts)
    assert server.api.sign_in_approved().access


def test_documented_configuration_is_accepted(tmp_path: Path):
    (config,) = blocks(ROOT / "docs" / "operations" / "configuration.md", "toml")
    (directory,) = blocks(ROOT / "docs" / "operations" / "directory.md", "toml")
    (tmp_path / "directory.toml").write_text(directory)
    (tmp_path / "tls").mkdir()
    certificate(tmp_path / "tls", "sso.example.org")
    (tmp_path / "tls" / "chain.pem").rename(tmp_path / "tls" / "fullchain.pem")
    (tmp_path / "tls" / "key.pem").rename(tmp_path / "tls" / "privkey.pem")
    # Not this machine's to take: the privileged port, and a folder of the system.
    config = config.replace("0.0.0.0:443", f"127.0.0.1:{free_port()}").replace("/var/lib/doorward", "data")
    (tmp_path / "doorward.toml").write_text(config)
    done = doorward("check", "-c", "doorward.toml", cwd=tmp_path)
    assert done.returncode == 0 and "WRONG" not in done.stdout, done.stdout


def test_documented_plans_are_what_is_printed(tmp_path: Path):
    """The files and commands of the directory's manual, in their order; each command prints what stands under it."""
    page = ROOT / "docs" / "operations" / "directory.md"
    (config,) = blocks(ROOT / "docs" / "operations" / "configuration.md", "toml")
    # In the store alone, without TLS and this machine's own places.
    config = re.sub(r"(?m)^directory = .*\n|^\[tls\]\n(.+\n)+", "", config).replace("/var/lib/doorward", "data")
    config = config.replace("https://sso.example.org", "http://127.0.0.1:8443").replace("0.0.0.0:443", "127.0.0.1:8443")
    (tmp_path / "doorward.toml").write_text(config)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "doorward").symlink_to(doorward_binary().resolve())
    for language in ("yaml", "toml"):
        (text,) = blocks(page, language)
        (tmp_path / f"directory.{language}").write_text(text)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    ran = 0
    for block in blocks(page, "console"):
        for step in block.removeprefix("$ ").split("\n$ "):
            command, _, promised = step.partition("\n")
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode in (0, 2), done.stderr
            assert done.stdout.strip() == promised.strip(), command
            ran += 1
    assert ran == 4
    assert "identity source corp" in (tmp_path / "changes.log").read_text(), "the example's source is not configured here"
    (job,) = blocks(page, "sh")
    done = subprocess.run(["sh", "-e"], input=job, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Nothing to do" in done.stdout, done
    mistyped = (tmp_path / "directory.yaml").read_text().replace("[ada, grace]", "[ada, grce]")
    (tmp_path / "directory.yaml").write_text(mistyped)
    done = doorward("directory", "plan", "directory.yaml", cwd=tmp_path)
    (promised,) = re.findall(r"(?m)^    (directory\.yaml: line .*)$", page.read_text())
    assert done.returncode == 1 and done.stderr == f"doorward: {promised}\n"


def test_every_flag_that_the_documentation_names_exists(tmp_path: Path):
    commands = ("dev", "serve", "check", "backup", "restore", "migrate")
    commands = [(command,) for command in commands] + [("directory", command) for command in ("plan", "apply", "export")]
    commands += [("key", command) for command in ("list", "rotate", "replace")]
    known = "".join(doorward(*command, "--help", cwd=tmp_path).stdout for command in commands)
    pages = ("development-server.md", "logging.md", "operations/backup.md", "operations/directory.md", "operations/signing-keys.md")
    text = "".join((ROOT / "docs" / page).read_text() for page in pages)
    for flag in set(re.findall(r"(?:`|doorward [^`\n]*? )(--[a-z-]+)", text)):
        assert flag in known, flag
