"""Which Flask is worked with, which is refused, and that one file alone knows its private parts."""

from __future__ import annotations

import ast
import gc
import os
import re
import subprocess
import sys
import weakref
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import flask
import flask.globals
import pytest
from flask import Flask
from packaging.requirements import Requirement
from packaging.version import Version

import graft
from graft.errors import SettingError
from graft.flaskside import flask_private
from graft.flaskside.flask_private import (
    SUPPORTED,
    MergedContexts,
    Refused,
    SeparateContexts,
    TrackedSession,
    choose,
    private,
    require,
)

ROOT = Path(graft.__file__).parent
INSTALLED = Version(version("flask")).release


def of(flask_version: str, werkzeug_version: str = "3.1.3") -> Any:
    return choose({"flask": flask_version, "werkzeug": werkzeug_version}.__getitem__)


def test_the_installed_flask_is_worked_with() -> None:
    require()
    assert isinstance(private, SeparateContexts)


@pytest.mark.skipif(INSTALLED[:2] != (3, 1), reason="the variants are told apart on Flask 3.1")
def test_each_line_of_flask_has_its_variant() -> None:
    tracked = INSTALLED >= (3, 1, 3)
    for found, kind in (("3.0.3", SeparateContexts), ("3.1.0", SeparateContexts), ("3.1.2", SeparateContexts)):
        assert type(of(found)) is (Refused if tracked else kind)  # its session is kept elsewhere: named, not guessed
    for found in ("3.1.3", "3.1.9"):
        assert type(of(found)) is (TrackedSession if tracked else Refused)


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (("2.3.3", "3.1.3"), "flask 2.3.3"),
        (("3.3.0", "3.1.3"), "flask 3.3.0"),
        (("4.0.0rc1", "3.1.3"), "flask 4.0.0rc1"),
        (("3.1.3", "2.3.8"), "werkzeug 2.3.8"),
        (("3.1.3", "4.0"), "werkzeug 4.0"),
    ],
)
def test_a_version_that_nobody_tried_is_refused_in_one_sentence(found: tuple[str, str], refused: str) -> None:
    variant = of(*found)
    assert isinstance(variant, Refused)
    sentence = str(variant.error)
    library = refused.split(maxsplit=1)[0]
    lowest, below = SUPPORTED[library]
    assert sentence.startswith(f"{refused}: is not a version that Graft was tested with.")
    assert f"pip install '{library}>={lowest},<{below}'" in sentence
    assert "\n" not in sentence
    with pytest.raises(SettingError, match=re.escape(refused)):
        variant.current_context()


@pytest.mark.parametrize("part", ["_cv_app", "_cv_request"])
def test_a_flask_without_its_context_variables_is_refused_by_their_names(part: str) -> None:
    if not hasattr(flask.globals, part):
        pytest.skip("this Flask never had it")
    without = ModuleType("flask.globals")
    vars(without).update({name: value for name, value in vars(flask.globals).items() if name != part})
    variant = choose(flask_globals=without)
    assert isinstance(variant, Refused)
    assert part in str(variant.error)


@pytest.mark.parametrize("part", ["_got_first_request", private.session_attribute])
def test_a_flask_whose_objects_lack_a_part_is_refused_by_its_name(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Flask):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **keywords)
            vars(self).pop(part, None)

        def request_context(self, environ: dict[str, Any]) -> Any:
            context = super().request_context(environ)
            vars(context).pop(part, None)
            return context

    monkeypatch.setattr(flask_private, "Flask", Other)
    variant = choose()
    assert isinstance(variant, Refused)
    assert f"has no {part}" in str(variant.error)


def test_the_start_is_refused_with_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    program = "\n".join(
        (
            "import importlib.metadata as metadata",
            "known = metadata.version",
            "metadata.version = lambda name: '9.0' if name == 'flask' else known(name)",
            "import runpy",
            f"runpy.run_path({str(ROOT.parent / 'gateway.py')!r}, run_name='__main__')",
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "GRAFT_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: flask 9.0: is not a version that Graft was tested with.")
    assert len(done.stderr.splitlines()) == 1


def test_pyproject_names_the_same_versions() -> None:
    lines = (ROOT.parent / "pyproject.toml").read_text()
    for library, (lowest, below) in SUPPORTED.items():
        found = [Requirement(line) for line in re.findall(rf'"({library}\b[^"]*)"', lines)]
        assert [str(one.specifier) for one in found] == [f"<{below},>={lowest}"], library


def test_no_other_file_touches_a_private_part_of_flask() -> None:
    """Neither by import nor as an attribute of what is not the file's own object."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        if path.name in ("flask_private.py", "sentry.py"):  # the SDK has a _session of its own
            continue
        if path.is_relative_to(ROOT / "leaving" / "written"):  # the app's own code, once it is written
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("flask", "werkzeug"):
                found += [f"{path}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
            if isinstance(node, ast.Attribute) and node.attr in PARTS:
                found.append(f"{path}:{node.lineno}: {node.attr}")
            if isinstance(node, ast.Constant) and node.value in PARTS - {"_session"}:
                found.append(f"{path}:{node.lineno}: {node.value}")
    assert not found


PARTS = {
    "_cv_app",
    "_cv_request",
    "_cv_tokens",
    "_cv_token",
    "_session",
    "_get_session",
    "_request_ctx_stack",
    "_app_ctx_stack",
    "_got_first_request",
    "_after_request_functions",
    "_find_error_handler",
    "_check_setup_finished",
    "_get_current_object",
    "_flashes",
    "_load_form_data",
    "_cached_data",
    "_cached_json",
}


@pytest.mark.skipif(type(private) is MergedContexts, reason="for the Flask that has two contexts")
def test_a_context_that_does_not_match_leaves_no_cycle_behind() -> None:
    context = private.make_context(Flask("one"), {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http"}, matches=False)
    gone = weakref.ref(context)
    gc.disable()
    try:
        del context
        assert gone() is None
    finally:
        gc.enable()
