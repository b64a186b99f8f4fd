"""The suites of the legacy side on other versions of the libraries under it than requirements.txt pins.

    python -m tests.versions                          # what .ci/run runs: the oldest of each, and Flask 3.1.0
    python -m tests.versions flask==3.0.3             # any requirement that pip understands, also a folder of sources
    python -m tests.versions oldest -- tests/bridge -x   # a named set; what follows -- goes to pytest

The versions are laid over the installed ones: pip puts them, without what they depend on, into a folder of their own
under ``build/versions``, which comes first on PYTHONPATH, for the tests and for the servers that they start. It is kept
for the next run. Warnings that something is deprecated are no errors here: they are about the pinned versions.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = ROOT / "build" / "versions"
SUITES = (
    "tests/flaskside",
    "tests/bridge",
    "tests/contract/test_stories.py",
    "--ignore=tests/bridge/test_like_gunicorn.py",  # its reference is the Gunicorn that is pinned
    "--ignore=tests/bridge/test_websockets.py",  # Uvicorn's WebSocket protocols of that time have faults of their own
)

SETS = {
    "oldest": (
        "flask==3.0.3",
        "werkzeug==3.0.6",
        "uvicorn==0.40.0",
        "starlette==1.0.0",
        "gunicorn==23.0.0",
        "a2wsgi==1.10.10",
        "asgiref==3.9.0",
    ),
    "flask 3.1.0": ("flask==3.1.0",),
    "flask 3.1.3": ("flask==3.1.3",),
}
"""The newest of each is what requirements.txt pins and every other test runs on."""
BY_DEFAULT = {"oldest": SUITES, "flask 3.1.0": ("tests/flaskside",)}


def main(arguments: list[str]) -> int:
    """The worst exit code of pytest's."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    wanted, for_pytest = arguments[:end], arguments[end + 1 :]
    if not wanted:
        return max(run(SETS[name], [*suites, *for_pytest]) for name, suites in BY_DEFAULT.items())
    requirements = [one for name in wanted for one in SETS.get(name, (name,))]
    names_tests = any(not argument.startswith("-") for argument in for_pytest)
    return run(requirements, for_pytest if names_tests else [*SUITES, *for_pytest])


def run(requirements: list[str] | tuple[str, ...], for_pytest: list[str]) -> int:
    """pytest over ``requirements``; returns its exit code."""
    overlay = lay(requirements)
    print(f"== {' '.join(requirements)}", file=sys.stderr, flush=True)
    path = os.pathsep.join(filter(None, (str(overlay), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-W", "ignore::DeprecationWarning", "--no-cov"]
    return subprocess.run([*command, *for_pytest], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}).returncode


def lay(requirements: list[str] | tuple[str, ...]) -> Path:
    """The folder that has ``requirements`` and nothing else; made if it is not there."""
    key = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:16]
    overlay = OVERLAYS / key
    complete = overlay / ".complete"
    if not complete.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        subprocess.run([*pip, "--no-deps", "--target", overlay, *requirements], cwd=ROOT, check=True)
        complete.touch()
    return overlay


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
