"""What Gunicorn's master imports for all workers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from graft.preload import LIBRARIES

PROBE = """
import sys, threading
from graft.preload import preload
before = set(sys.modules)
preload()
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(names & {"legacy_flask", "async_routes", "gateway"}))
print(threading.active_count())
"""


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_library_is_one_that_the_project_needs(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True, timeout=60)


def test_the_master_imports_no_code_that_a_reload_has_to_load_anew_and_starts_nothing() -> None:
    told = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout.split("\n")[:2] == ["[]", "1"]
