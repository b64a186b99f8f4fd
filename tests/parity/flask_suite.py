"""Flask's and Werkzeug's own test-suites through the mount.

    python -m tests.parity.flask_suite           # the sources of the installed version are fetched by pip, and kept

Each suite runs twice: as it is, and with every request of its test client through ``LegacyMount``. What passes as it is
has to pass through the mount, but for the differences in ``ACCEPTED``, each with its reason; one that is no difference
any more fails the run, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

from tests.parity.accepted import ACCEPTED

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "build" / "suites"
SUITES = ("flask", "werkzeug")
WITHOUT = "not dev_server"
"""Werkzeug's mark of what starts its own server: there is no mount in between."""
TIMEOUT = 120.0
"""Seconds for one run of one suite."""


def main() -> int:
    """0 when the suites differ in what is accepted and in nothing else."""
    unexpected = 0
    for name in SUITES:
        folder = fetch(name)
        passed = outcomes(folder, "plain")
        lost = passed - outcomes(folder, "mounted", "-ptests.parity.mount_client")
        accepted = set(ACCEPTED[name])
        print(f"== {name} {version(name)}: {len(passed)} pass, {len(lost)} of them not through the mount", flush=True)
        for test in sorted(lost - accepted):
            print(f"   does not pass through the mount: {test}")
        for test in sorted(accepted & passed - lost):
            print(f"   passes, and is in the list of accepted differences: {test}")
        unexpected += len(lost - accepted) + len(accepted & passed - lost)
        if not passed:
            print("   no test passed at all")
            unexpected += 1
    return 1 if unexpected else 0


def fetch(name: str) -> Path:
    """The folder with the sources of the installed version."""
    folder = SOURCES / f"{name}-{version(name)}"
    if not folder.exists():
        SOURCES.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wanted = f"{name}=={version(name)}"
        subprocess.run([*pip, "--no-binary", ":all:", "--dest", str(SOURCES), wanted], check=True)
        with tarfile.open(next(SOURCES.glob(f"{name}-{version(name)}.tar.gz"))) as archive:
            archive.extractall(SOURCES, filter="data")
    return folder


def outcomes(folder: Path, run: str, *options: str) -> set[str]:
    """The tests that pass, as ``tests.test_basic::test_session``."""
    report = folder / f"{run}.xml"
    report.unlink(missing_ok=True)
    plugins = ("tests.parity.suite_support", "no:randomly", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", "--no-cov", "-n", "2", *(f"-p{name}" for name in plugins)]
    settings = ["-m", WITHOUT, "-o", "filterwarnings=", "--timeout", "10", "--tb=no", f"--junit-xml={report}", "tests"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    with (folder / f"{run}.log").open("wb") as log:
        subprocess.run(
            [*command, *options, *settings],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
        )
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}" for case in cases if not len(case)}


if __name__ == "__main__":
    sys.exit(main())
