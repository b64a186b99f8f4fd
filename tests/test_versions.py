"""What ``python -m tests.versions`` lays over the installed libraries."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests import versions


def test_the_oldest_are_of_the_lines_that_pyproject_begins_with() -> None:
    project = tomllib.loads((versions.ROOT / "pyproject.toml").read_text())["project"]
    declared = {one.name: one for one in map(Requirement, project["dependencies"])}
    for requirement in map(Requirement, versions.SETS["oldest"]):
        (pin,) = requirement.specifier
        if requirement.name in declared:
            bounds = declared[requirement.name].specifier
            lowest = next(Version(one.version) for one in bounds if one.operator == ">=")
            assert pin.version in bounds
            assert Version(pin.version).release[: len(lowest.release)] == lowest.release, requirement


def test_an_overlay_comes_before_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "OVERLAYS", tmp_path)
    wheel = tmp_path / "a2wsgi-99-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("a2wsgi-99.dist-info/METADATA", "Metadata-Version: 2.1\nName: a2wsgi\nVersion: 99\n")
        files.writestr("a2wsgi-99.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr("a2wsgi-99.dist-info/RECORD", "")
    overlay = versions.lay([str(wheel)])
    wheel.unlink()
    assert versions.lay([str(wheel)]) == overlay  # kept for the next run
    program = "from importlib.metadata import version; print(version('a2wsgi'))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(overlay)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "99"
