"""Async views beside an asgiref that lacks a part, and that one file alone knows these parts."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from asgiref import local as asgiref_local
from packaging.requirements import Requirement

import graft
from graft.flaskside import asgiref_private

ROOT = Path(graft.__file__).parent

VIEWS = """
import asyncio, contextvars, threading
from asgiref.local import Local
from asgiref.sync import sync_to_async
from flask import Flask
from graft.bridge.mount import LegacyMount
from graft.flaskside import asgiref_private
from graft.flaskside.async_views import AsyncViews
from tests.bridge.wire import Conversation

app, told, plain = Flask("x"), Local(), contextvars.ContextVar("plain", default="-")

@app.get("/")
async def view():
    plain.set("kept")
    return str(await sync_to_async(threading.get_ident)() == thread.pop())

thread = []

@app.before_request
def before():
    thread.append(threading.get_ident())

@app.after_request
def after(response):
    response.headers["x-plain"] = plain.get()
    return response

async def main():
    views = AsyncViews()
    views.install(app)
    mount = LegacyMount(app, workers=2)
    for _ in range(2):
        said = await Conversation().ask(mount)
        print(said.status, said.headers["x-plain"], "same thread", said.body.decode())
    await mount.pool.aclose(5)
    print(asgiref_private.MISSING)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("removed", "same_thread", "worse"),
    [
        ("", True, "[]"),
        ("del sync.AsyncToSync.executors", False, "in a thread of asgiref's own"),
        ("del sync.SyncToAsync.threadlocal", True, "[]"),
        ("del local._rehome", True, "is lost after it"),
        ("del local._rehome, local._Storage", True, "[]"),
    ],
    ids=["nothing", "executors", "threadlocal", "rehome", "both tags"],
)
def test_without_a_part_async_views_run_and_it_is_said_what_is_worse(
    removed: str, same_thread: bool, worse: str
) -> None:
    if "local." in removed and not hasattr(asgiref_local, "_rehome"):
        pytest.skip("asgiref of that time has none")
    # The library keeps what it needs itself: the part is only hidden from the file that looks for it.
    hide = f"""
from types import SimpleNamespace
from asgiref import local as real_local, sync as real_sync
import asgiref
local = SimpleNamespace(**vars(real_local))
sync = SimpleNamespace(
    AsyncToSync=SimpleNamespace(executors=real_sync.AsyncToSync.executors),
    SyncToAsync=SimpleNamespace(threadlocal=getattr(real_sync.SyncToAsync, "threadlocal", None)),
)
{removed}
asgiref.local, asgiref.sync = local, sync
import graft.flaskside.asgiref_private
asgiref.local, asgiref.sync = real_local, real_sync
"""
    ran = subprocess.run([sys.executable, "-c", hide + VIEWS], capture_output=True, text=True, cwd=ROOT.parent)
    assert ran.returncode == 0, ran.stderr
    *answers, missing = ran.stdout.splitlines()
    assert answers == [f"200 kept same thread {same_thread}"] * 2
    assert worse in missing


def test_the_installed_asgiref_has_every_part() -> None:
    assert asgiref_private.MISSING == []


def test_no_other_file_touches_asgiref() -> None:
    files = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.rglob("*.py")}
    found = {name for name, text in files.items() if re.search(r"^ *(from|import) asgiref", text, re.M)}
    assert found == {"flaskside/asgiref_private.py"}


@pytest.mark.parametrize("name", ["asgiref", "gunicorn", "prometheus-client"])
def test_libraries_whose_insides_are_known_are_bounded_above_what_was_tested(name: str) -> None:
    lines = re.findall(r'^ *"([^"]+)",', (ROOT.parent / "pyproject.toml").read_text(), re.M)
    [required] = [Requirement(line) for line in lines if re.match(rf"{name}\b", line)]
    tested = version(name)
    assert required.specifier.contains(tested)
    pinned = re.search(rf"^{name}==(\d+)", (ROOT.parent / "requirements.txt").read_text(), re.M)
    newest = int(pinned[1] if pinned else tested.split(".")[0])
    assert not required.specifier.contains(f"{newest + 1}.0")
