"""What is installed can be checked: every package is locked with its hashes, and listed in a bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MEND = "uv pip compile --universal --python-version 3.11 --generate-hashes requirements.txt -o requirements.lock"


def requirements() -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def locked() -> dict[str, tuple[set[str], str]]:
    """Name -> the versions that are locked (one for each environment), and the text of its entries."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "requirements.lock").read_text())
    found: dict[str, tuple[set[str], str]] = {}
    for line in text.splitlines():
        if entry := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", line):
            versions, entries = found.setdefault(canonicalize_name(entry[1]), (set(), ""))
            found[canonicalize_name(entry[1])] = (versions | {entry[2]}, entries + line)
    return found


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_what_is_required_is_locked_in_the_same_version(requirement: Requirement) -> None:
    versions, _ = locked().get(canonicalize_name(requirement.name), (set(), ""))
    assert versions, MEND
    assert all(requirement.specifier.contains(version) for version in versions), MEND


def test_everything_that_is_locked_has_hashes() -> None:
    assert all("--hash=sha256:" in entries for _, entries in locked().values()), MEND
    assert len(locked()) > len(requirements())  # also what the requirements bring


def test_the_bill_of_materials_names_every_package_and_follows_its_schema(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--of", "JSON", "-o", bill]
    subprocess.run([*command, ROOT / "requirements.lock"], check=True, capture_output=True, timeout=60)
    told = json.loads(bill.read_text())
    validator = JsonStrictValidator(SchemaVersion.from_version(told["specVersion"]))
    assert validator.validate_str(bill.read_text()) is None
    assert {canonicalize_name(component["name"]) for component in told["components"]} == set(locked())
