"""The packages of requirements.txt, in a folder of their own for the PYTHONPATH of the servers under test."""

from __future__ import annotations

import re
from pathlib import Path

from filelock import FileLock

from tests.versions import OVERLAYS, lay

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def requirements() -> list[str]:
    return re.findall(r"^[a-z].*==\S+", REQUIREMENTS.read_text(), re.MULTILINE)


def overlay() -> Path:
    """The folder; pip fills it once (a minute), for all test processes."""
    OVERLAYS.mkdir(parents=True, exist_ok=True)
    with FileLock(OVERLAYS / "parity.lock"):
        return lay(requirements())
