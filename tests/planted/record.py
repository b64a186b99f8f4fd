"""``python -m tests.planted.record [APP...]`` records the answers that recordings/ has, of the apps in ``third_party``.

Each app comes from PyPI into a folder of its own under build/, and runs in two processes over the same data, which ask
for each page three times: what differs among the six answers is what the app's answers differ in by themselves. The
first answer is kept whole, the others as what they have instead. The order of the fields of JSON is not kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from tests.planted.slots import Change, Recorded
from tests.versions import OVERLAYS, ROOT

RECORDINGS = Path(__file__).with_name("recordings")
PACKAGES = {
    "httpbin": ("httpbin==0.10.4", "ISC", "https://github.com/psf/httpbin"),
    "ihatemoney": ("ihatemoney==7.2.1", "BSD-3-Clause", "https://github.com/spiral-project/ihatemoney"),
    "isso": ("isso==0.14.0", "MIT", "https://github.com/isso-comments/isso"),
    "otterwiki": ("otterwiki==2.26.1", "MIT", "https://github.com/redimp/otterwiki"),
    "datasette": ("datasette==0.65.5", "Apache-2.0", "https://github.com/simonw/datasette"),
    "django": ("django==5.2.19", "BSD-3-Clause", "https://github.com/django/django"),
}
_ATOM = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    r"|\d+\.\d+|[\w-]+|\W"
)


def packages(app: str) -> Path:
    """The folder with the app and all that it needs; filled once."""
    folder = OVERLAYS / f"recorded-{app}"
    if not (folder / ".complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder]
        subprocess.run([*pip, PACKAGES[app][0]], check=True)
        (folder / ".complete").touch()
    return folder


def asked(app: str) -> Iterator[dict[str, dict[str, list[dict[str, Any]]]]]:
    """What two processes of it answered: by shape, by path, one after the other."""
    with tempfile.TemporaryDirectory(prefix="recorded-") as folder:
        for seed in ("1", "2"):
            path = os.pathsep.join((str(packages(app)), str(ROOT)))
            command = [sys.executable, "-W", "ignore", "-m", "tests.planted.third_party", app, folder]
            env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
            yield json.loads(subprocess.run(command, env=env, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def text_of(answer: dict[str, Any]) -> str:
    """An answer as it stands on the wire."""
    body = answer["body"]
    if any(value.startswith("application/json") for name, value in answer["headers"] if name == "content-type"):
        body = json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False)
    head = "".join(f"{name}: {value}\n" for name, value in answer["headers"])
    return f"{answer['status']}\n{head}\n{body}"


def changes(first: str, other: str) -> list[Change]:
    """What ``other`` has in place of parts of ``first``."""
    here, there = _ATOM.findall(first), _ATOM.findall(other)
    start, end = 0, 0
    while start < min(len(here), len(there)) and here[start] == there[start]:
        start += 1
    while end < min(len(here), len(there)) - start and here[-end - 1] == there[-end - 1]:
        end += 1
    offsets = [0]
    for atom in here:
        offsets.append(offsets[-1] + len(atom))
    middle = here[start : len(here) - end], there[start : len(there) - end]
    if len(middle[0]) == len(middle[1]):
        found = [(n, n + 1, n, n + 1) for n, (a, b) in enumerate(zip(*middle, strict=True)) if a != b]
    else:
        found = [
            codes[1:] for codes in SequenceMatcher(None, *middle, autojunk=False).get_opcodes() if codes[0] != "equal"
        ]
    return [(offsets[start + a], offsets[start + b], "".join(there[start + c : start + d])) for a, b, c, d in found]


def recording(app: str) -> dict[str, Any]:
    one, other = asked(app)
    shapes: dict[str, list[Recorded]] = {}
    for shape, paths in one.items():
        for path, answers in paths.items():
            answers = [*answers, *other[shape][path]]
            texts = [text_of(answer) for answer in answers]
            shapes.setdefault(shape, []).append(
                {
                    "path": path,
                    "first": texts[0],
                    "at": [round(answer["at"], 3) for answer in answers],
                    "others": [changes(texts[0], text) for text in texts[1:]],
                }
            )
    package, licence, home = PACKAGES[app]
    return {"app": package, "licence": licence, "home": home, "shapes": shapes}


def _written(recorded: dict[str, Any]) -> str:
    """Each answer on a line of its own."""
    text = json.dumps(recorded, ensure_ascii=False, separators=(",", ":"))
    return text.replace('{"path":', '\n{"path":').replace(']},"', ']},\n"') + "\n"


def main(names: list[str]) -> None:
    RECORDINGS.mkdir(exist_ok=True)
    for app in names or PACKAGES:
        recorded = recording(app)
        path = RECORDINGS / f"{app}.json"
        path.write_text(_written(recorded))
        print(f"{app:12} {path.stat().st_size:8} bytes  {', '.join(recorded['shapes'])}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
