"""Both commands of the README on other Pythons than the one that runs the tests: they serve, and the suites that go by
the Python are green.

    python -m tests.pythons                    # the other supported ones that this machine has, or can make
    python -m tests.pythons --quick            # the same, with a core of the suites: what .ci/run runs
    python -m tests.pythons 3.14               # one; where the machine has none, in a bare Debian made by debootstrap
    python -m tests.pythons 3.13 -- tests/threads -x    # what follows -- goes to pytest

A bare Debian is made as root, from Debian's packages, and kept for the next run, in GRAFT_TEST_CACHE or else under
``build/roots``: its release is the one that has this Python. What runs in it has a mount namespace of its own, so that
nothing stays mounted, however it ends. Everything is done in a copy of what git knows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.parts import Process, free_port

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
RELEASES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid"}
FROM_HERE = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt", "etc/pip.conf")
"""By which this machine reaches its package index."""
MIRROR = "http://deb.debian.org/debian"
SUITES = ("tests/flaskside", "tests/threads", "tests/test_testing.py", "tests/test_facade.py")
"""Where thread states, loops and contexts are taken at their word, which differ from one Python to the next."""
CORE = (
    "tests/threads",
    "tests/test_facade.py",
    "tests/flaskside/test_asgiref_private.py",
    "tests/flaskside/test_flask_private.py",
    "tests/flaskside/test_several_apps.py",
)
NEEDED = ("pytest", "httpx2", "hypothesis", "websockets")
"""Of requirements-dev.txt what the core needs: all that begins so."""

IN_A_ROOT = """
set -e
mount -t proc proc "$0/proc"
if [ -d "$1" ]; then mkdir -p "$0/root/.cache/pip"; mount --bind "$1" "$0/root/.cache/pip"; fi
shift
exec chroot "$0" bash -c 'cd /srv/graft && exec "$@"' bash "$@"
"""
"""With the root and this machine's cache of pip. The mounts are gone with the last process that sees them."""


class NoPython(Exception):
    """There is none here, and none can be made. The text says the mend."""


@dataclass(frozen=True)
class Place:
    """Where a Python is: ``root`` is a Debian of its own, or / for this machine."""

    python: str
    root: Path = Path("/")

    @property
    def folder(self) -> Path:
        """The copy of the project, seen from outside."""
        return self.root / "srv/graft" if self.root != Path("/") else BUILD / "pythons" / Path(self.python).name

    def command(self, *words: str) -> list[str]:
        """``words`` in that folder."""
        if self.root == Path("/"):
            return ["bash", "-c", 'cd "$0" && exec "$@"', str(self.folder), *words]
        alone = ["unshare", "--mount", "--propagation", "private"]
        return [*alone, "bash", "-c", IN_A_ROOT, str(self.root), str(Path.home() / ".cache/pip"), *words]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "COV_", "VIRTUAL"))}
        kept.pop("CI", None)  # the parts of the system are not what is tried here
        home = {} if self.root == Path("/") else {"HOME": "/root"}
        return {**kept, **home, "PYTHON": self.python}


def main(arguments: list[str]) -> int:
    """The worst exit code of the commands."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    wanted, for_pytest = arguments[:end], arguments[end + 1 :]
    if quick := "--quick" in wanted:
        wanted.remove("--quick")
    worst = 0
    for version in wanted or other_versions():
        print(f"== Python {version}", file=sys.stderr, flush=True)
        try:
            place = Place(found) if (found := on_this_machine(version)) else bare_debian(version)
            worst = max(worst, tried(place, for_pytest or [*(CORE if quick else SUITES), "-m", "not slow"], quick))
        except NoPython as error:
            print(f"{'error' if wanted else 'not tried'}: {error}", file=sys.stderr)
            worst = max(worst, 2 if wanted else 0)
    return worst


def other_versions() -> list[str]:
    """The supported ones beside the running one; what can't be had here is said and left out."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [version for version in SUPPORTED if version != running]
    had = [version for version in others if on_this_machine(version) or (version in RELEASES and may_make_roots())]
    for version in sorted(set(others) - set(had)):
        print(f"Python {version} is not tried: this machine has none, and can make none", file=sys.stderr)
    return had


def may_make_roots() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, ("debootstrap", "unshare")))


def on_this_machine(version: str) -> str | None:
    """A Python of this version that can make virtual environments."""
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for path in (*sorted(homes.glob(f"{version}.*/bin/python{version}")), shutil.which(f"python{version}")):
        if path and subprocess.run([path, "-c", "import ensurepip, sqlite3"], capture_output=True).returncode == 0:
            return str(path)
    return None


def bare_debian(version: str) -> Place:
    """A Debian with nothing in it but this Python. Raises NoPython."""
    release = RELEASES.get(version)
    if release is None:
        raise NoPython(
            f"this machine has no Python {version}, and no release of Debian has. Install one, as with pyenv."
        )
    if not may_make_roots():
        raise NoPython(f"this machine has no Python {version}: run this as root, with debootstrap installed.")
    root = Path(os.environ.get("GRAFT_TEST_CACHE", BUILD)) / "roots" / release
    python = Path("usr/bin") / f"python{version}"
    if not (root / python).exists():
        print(f"making a bare Debian {release} in {root}", file=sys.stderr)
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        packages = f"--include=python{version},python{version}-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", packages, release, str(root), MIRROR]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode:
            print(made.stdout[-2000:], file=sys.stderr)
            raise NoPython(f"debootstrap could not make a Debian {release}, see above.")
    if not (root / python).exists():
        raise NoPython(f"Debian {release} has another Python than {version} by now.")
    for name in FROM_HERE:
        if Path("/", name).is_file():
            shutil.copy(Path("/", name), root / name)
    return Place(f"/{python}", root)


def tried(place: Place, for_pytest: list[str], quick: bool) -> int:
    """The exit code of the first command that fails."""
    copy_project(place.folder)
    if code := run(place, "./startup.sh", "--setup"):
        return code
    serves(place)
    pip = (".venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    if code := run(place, *pip, *(needed() if quick else ("-r", "requirements-dev.txt"))):
        return code
    return run(place, ".venv/bin/python", "-m", "pytest", "-q", "-n", "2", "--no-cov", *for_pytest)


def needed() -> list[str]:
    """The requirements of the core, as requirements-dev.txt pins them."""
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[0] for line in lines if line.startswith(NEEDED)]


def run(place: Place, *words: str) -> int:
    return subprocess.run(place.command(*words), env=place.environment).returncode


def serves(place: Place) -> None:
    """Raises AssertionError where ``./startup.sh`` does not answer within two minutes."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    log = place.folder / "serves.log"

    def answers() -> bool:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)

    started = time.monotonic()
    process = Process(place.command("./startup.sh", "--port", str(port)), log, env=place.environment)
    try:
        process.wait_for(answers, 120, "an answer")
        print(f"./startup.sh answers after {time.monotonic() - started:.1f} s", file=sys.stderr)
    finally:
        process.stop()


def copy_project(folder: Path) -> None:
    """What git knows, as it is now; a virtual environment that is there stays."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
