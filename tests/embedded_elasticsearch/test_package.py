"""The package as somebody meets it who has nothing else of this repository."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import embedded_elasticsearch

FOLDER = Path(embedded_elasticsearch.__file__).parent
ALLOWED = {"elastic_transport", "elasticsearch", "embedded_elasticsearch"}


def imports_of(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_it_imports_the_client_and_the_standard_library_alone() -> None:
    for file in FOLDER.rglob("*.py"):
        assert imports_of(file) <= ALLOWED | sys.stdlib_module_names, file.name


def test_its_tests_need_nothing_of_the_gateway() -> None:
    for file in Path(__file__).parent.glob("*.py"):
        assert not imports_of(file) & {"graft", "gateway", "async_routes", "legacy_flask", "starlette"}, file.name


def test_the_example_of_the_readme_runs_alone(tmp_path: Path) -> None:
    """In a folder with a copy of the package: what else this repository has is not there to be imported."""
    shutil.copytree(FOLDER, tmp_path / FOLDER.name, ignore=shutil.ignore_patterns("__pycache__"))
    example = (FOLDER / "README.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{example}\nassert 'graft' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["ada", "1"]), done.stderr
    assert (tmp_path / "search.sqlite3").exists()
