#!/usr/bin/env python3
"""Installs the real clients that the end-to-end suite drives, each only if it is missing.

Everything lands under target/e2e/ of this repository:

    venv/              pytest, boto3 and the Python side of Playwright, as requirements.txt pins them
    awscli/<suite>/    the AWS CLI v2 of one Debian suite, unpacked beside its own Python and C library;
                       awscli/<suite>/aws runs it, without root and without a chroot
    ceph/<suite>/      Ceph's monitor, OSD and object gateway of one Debian suite, in the same way
    js/                the JavaScript SDK, as js/package.json pins it

Chromium is the one thing taken from the host, because Playwright's own download is not a package.

A second run looks at the stamps and the executables, and is done in well under a second. `--upgrade`
fetches what comes of Debian's suites afresh: `sid` moves, and that is why it is tested.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target" / "e2e"

# The oldest Debian release whose CLI has PKCE, and whatever is newest (which also judges start URLs).
AWS_CLI_SUITES = ("trixie", "sid")

# A gateway that wants the certificate of an issuer's first key, and one that takes any key set. Testing rather than sid:
# what got there can be installed.
CEPH_SUITES = ("trixie", "forky")

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Failed(Exception):
    """A step that cannot go on; the message says what to do about it."""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--upgrade", action="store_true", help="fetch the AWS CLIs and Ceph again, at today's versions")
    options = arguments.parse_args()

    TARGET.mkdir(parents=True, exist_ok=True)
    steps = [("host packages", host_packages), ("python", python_environment), ("javascript", javascript_modules)]
    steps += [(f"aws cli of {suite}", lambda suite=suite: aws_cli(suite, options.upgrade)) for suite in AWS_CLI_SUITES]
    steps += [(f"ceph of {suite}", lambda suite=suite: ceph(suite, options.upgrade)) for suite in CEPH_SUITES]
    for name, step in steps:
        started = time.monotonic()
        try:
            outcome = step()
        except Failed as failure:
            print(f"install: {name}: {failure}", file=sys.stderr)
            return 1
        print(f"install: {name}: {outcome} ({time.monotonic() - started:.1f} s)")
    return 0


def run(command: list[str], **options) -> str:
    """Runs a command quietly, and shows what it said only when it failed."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


# --- Host packages -----------------------------------------------------------------------------


def host_packages() -> str:
    wanted = {
        "chromium": shutil.which("chromium"),
        "debian-archive-keyring": KEYRING.exists(),
        "nodejs": shutil.which("node"),
        "npm": shutil.which("npm"),
        "openssl": shutil.which("openssl"),
        "python3-venv": importlib.util.find_spec("ensurepip"),
    }
    missing = [package for package, there in wanted.items() if not there]
    if not missing:
        return "present"
    if not shutil.which("apt-get"):
        raise Failed(f"missing {', '.join(missing)}, and there is no apt-get: install them by hand")
    if os.geteuid() != 0:
        raise Failed(f"missing {', '.join(missing)}: run `sudo apt-get install {' '.join(missing)}`")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-q", "update"], env=quiet)
    run(["apt-get", "-q", "install", "-y", "--no-install-recommends", *missing], env=quiet)
    return f"installed {', '.join(missing)}"


# --- Python and JavaScript ---------------------------------------------------------------------


def python_environment() -> str:
    venv, requirements = TARGET / "venv", HERE / "requirements.txt"
    stamp, wanted = venv / ".installed", f"{sys.version}\n{venv}\n{digest(requirements)}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return "present"
    shutil.rmtree(venv, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(venv)])
    run([str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)])
    stamp.write_text(wanted)
    return "installed"


def javascript_modules() -> str:
    folder, package = TARGET / "js", HERE / "js" / "package.json"
    stamp, wanted = folder / ".installed", digest(package)
    if stamp.is_file() and stamp.read_text() == wanted:
        return "present"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(package, folder / "package.json")
    run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
    stamp.write_text(wanted)
    return "installed"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- Programs of a Debian suite ------------------------------------------------------------------


def aws_cli(suite: str, upgrade: bool) -> str:
    return from_suite("awscli", suite, ["awscli"], aws_launcher, upgrade)


def ceph(suite: str, upgrade: bool) -> str:
    return from_suite("ceph", suite, ["radosgw", "ceph-mon", "ceph-osd"], ceph_launcher, upgrade)


def from_suite(kind: str, suite: str, packages: list[str], finish: Callable[[Path], None], upgrade: bool) -> str:
    """Unpacks packages of a Debian suite, and everything they depend on, into a folder of their own.

    apt resolves against an empty package status, so the closure holds the suite's own C library (and Python), and
    checks signatures and hashes as ever. Nothing is configured: the dynamic loader of that folder starts the
    programs of that folder, and no maintainer script is needed for that.
    """
    link = TARGET / kind / suite
    if (link / "version").is_file() and not upgrade:
        return f"present, {(link / 'version').read_text().strip()}"

    work = TARGET / kind / f".{suite}.apt"
    shutil.rmtree(work, ignore_errors=True)
    apt = private_apt(work, suite)
    run(["apt-get", *apt, "-q", "update"])
    version = candidate(apt, packages[0])
    folder = TARGET / kind / f"{suite}-{version.replace(':', '_')}"
    if not (folder / "version").is_file():
        run(["apt-get", *apt, "-q", "-y", "--no-install-recommends", "--download-only", "install", *packages])
        shutil.rmtree(folder, ignore_errors=True)
        unpack(sorted((work / "archives").glob("*.deb")), folder / "root")
        finish(folder)
        (folder / "version").write_text(version + "\n")
    shutil.rmtree(work)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    return f"installed, {version}"


def private_apt(work: Path, suite: str) -> list[str]:
    """Options that give apt its own sources, lists and status, and leave the host's alone."""
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {debian_mirror()} {suite} main\n")
    settings = {
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "APT::Sandbox::User": "",
    }
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def debian_mirror() -> str:
    """The mirror that this host's own apt uses, so that a proxy or a local mirror is honoured."""
    if not shutil.which("apt-get"):
        raise Failed("the AWS CLIs and Ceph are unpacked from Debian packages, and there is no apt-get here")
    host = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    releases = {host.get("VERSION_CODENAME", "").strip('"'), "stable", "testing", "unstable", "sid"} - {""}
    for line in run(["apt-get", "--print-uris", "update"]).splitlines():
        # 'MIRROR/dists/RELEASE/InRelease' name size: what apt would fetch, known without having fetched anything.
        uri, found, rest = line.partition("' ")[0].lstrip("'").partition("/dists/")
        if found and rest.split("/")[0] in releases and "security" not in uri:
            return uri
    raise Failed("apt's own sources name no Debian mirror")


def candidate(apt: list[str], package: str) -> str:
    for line in run(["apt-cache", *apt, "policy", package]).splitlines():
        field, _, value = line.strip().partition(": ")
        if field == "Candidate" and value != "(none)":
            return value
    raise Failed(f"the suite has no package {package}")


def unpack(packages: list[Path], root: Path) -> None:
    # Every suite of interest has a merged /usr: the links come first, and the packages unpack through them.
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    unwanted = [f"--exclude=./usr/share/{part}" for part in ("doc", "info", "locale", "man", "zoneinfo")]
    unwanted += ["--exclude=./usr/lib/python3/dist-packages/awscli/examples/*"]
    for package in packages:
        archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        run(["tar", "-x", "-C", str(root), "--no-same-owner", "--keep-directory-symlink", *unwanted], stdin=archive.stdout)
        if archive.wait() != 0:
            raise Failed(f"{package.name} cannot be read")


def ceph_launcher(folder: Path) -> None:
    """Writes the `run` of the folder, which starts any of its programs, and sees that those of a cluster do start."""
    usr = folder / "root" / "usr"
    loader = next(usr.glob("lib*/ld-linux-*.so.*"))
    plugins = next(usr.glob("lib/*/ceph"))
    libraries = f'"{plugins.parent}:{plugins}"'
    start = f'exec "{loader}" --library-path {libraries} --argv0 "$program" "{usr}/bin/$program" "$@"'
    script = folder / "run"
    lines = ["#!/bin/sh", 'here=$(dirname "$(readlink -f "$0")")', "program=$1", "shift", start, ""]
    script.write_text("\n".join(lines).replace(str(folder), "$here"))
    script.chmod(0o755)
    for program in ("ceph-mon", "ceph-osd", "monmaptool", "osdmaptool", "radosgw", "radosgw-admin"):
        run([str(script), program, "--version"])


def aws_launcher(folder: Path) -> None:
    usr = folder / "root" / "usr"
    python = next((path for path in sorted((usr / "bin").glob("python3.*")) if path.name[8:].isdigit()), None)
    loader = next(usr.glob("lib*/ld-linux-*.so.*"), None)
    multiarch = next(usr.glob("lib/*/libc.so.6"), None)
    if not (python and loader and multiarch):
        raise Failed(f"{folder.name} holds no Python, or no C library")
    start = [str(loader), "--library-path", str(multiarch.parent), "--argv0", str(python), str(python)]
    surroundings = {
        "PYTHONHOME": str(usr),
        "PYTHONPATH": str(usr / "lib" / "python3" / "dist-packages"),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    # Compiled once here: it is the difference between half a second and two for every single command.
    environment = {**os.environ, **surroundings}
    del environment["PYTHONDONTWRITEBYTECODE"]
    libraries = [str(path) for path in sorted((usr / "lib").glob("python3*")) if path.is_dir()]
    run([*start, "-m", "compileall", "-q", "-x", "/(test|lib2to3|idlelib|tkinter)/", *libraries], env=environment)

    # The script finds its folder by itself, so that a moved or copied checkout keeps working.
    exports = " ".join(f'{name}="{value}"' for name, value in surroundings.items())
    command = " ".join(f'"{part}"' for part in (*start, str(usr / "bin" / "aws")))
    script = folder / "aws.new"
    lines = ["#!/bin/sh", 'here=$(dirname "$(readlink -f "$0")")', f"export {exports}", f'exec {command} "$@"', ""]
    script.write_text("\n".join(lines).replace(str(folder), "$here"))
    script.chmod(0o755)
    run([str(script), "--version"])
    script.rename(folder / "aws")


if __name__ == "__main__":
    sys.exit(main())
