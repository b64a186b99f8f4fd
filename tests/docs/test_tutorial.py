"""The tutorial, as a reader goes through it: its files are written, its commands run, and its answers are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.parts import Process, free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<kind>console|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SERVE = "python gateway.py"
"""It goes on until the page starts it once more."""
LOOK = re.compile(r"graft (differences|routes|promote|history)|curl -si .*grep")
"""What a reader who is early does again: mirrors run when there is time for them, and workers follow in a moment."""
PATIENCE = 30


def test_every_command_of_the_tutorial_answers_as_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests/cli/flaskr/flaskr", tmp_path / "flaskr")
    port = free_port()
    with Reader(tmp_path, port) as reader:
        for found in BLOCK.finditer((ROOT / "docs/tutorial.md").read_text()):
            text = found["text"].replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            if found["kind"] == "python":
                name, _, code = text.removeprefix("# ").partition("\n")
                (tmp_path / name).write_text(code)
            else:
                for command, answer in commands(text):
                    reader.run(command, answer)
        assert reader.ran > 15


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    for part in text.removeprefix("$ ").split("\n$ "):
        command, *answer = part.rstrip("\n").split("\n")
        yield command, answer


class Reader:
    """Whoever goes through the tutorial: one shell, whose functions last, and one gateway."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.ran = 0
        self._defined = ""
        self._served: Process | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "COV_", "PYTEST"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = {
            **kept,
            "PATH": path,
            "PORT": str(port),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "WEB_CONCURRENCY": "1",
        }

    def __enter__(self) -> Reader:
        (self.folder / "run").mkdir(mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        if self._served is not None:
            self._served.stop()

    def run(self, command: str, answer: list[str]) -> None:
        self.ran += 1
        if command == SERVE:
            said = self._serve()
        elif re.match(r"\w+\(\) \{", command):
            self._defined += f"{command}\n"
            return
        else:
            said = self._said(command)
            deadline = time.monotonic() + PATIENCE
            while LOOK.match(command) and not _pattern(answer).search(said) and time.monotonic() < deadline:
                time.sleep(0.5)
                said = self._said(command)
        assert _pattern(answer).search(said), f"$ {command}\nsays\n{said}\nand not\n" + "\n".join(answer)

    def _said(self, command: str) -> str:
        script = f"{self._defined}{command}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode in (0, 1), f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout.replace("\r\n", "\n")

    def _serve(self) -> str:
        if self._served is not None:
            self._served.stop()
        log = self.folder / "gateway.log"
        self._served = Process([sys.executable, "gateway.py"], log, cwd=self.folder, env=self._env)
        self._served.wait_for(self._answers, 60, "the gateway")
        return self._served.output()

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_graft/health", timeout=5) as answer:
            return bool(answer.status == 200)


def _pattern(answer: list[str]) -> re.Pattern[str]:
    """``...`` stands for whatever there is: the rest of a line, or any lines."""
    parts = [".*" if line == "..." else re.escape(line).replace(r"\.\.\.", "[^\n]*") for line in answer]
    return re.compile(r"\n?".join(parts), re.DOTALL)
