"""What commands print steers no terminal, whoever wrote what they tell."""

from __future__ import annotations

import json

import anyio
import pytest

from graft.mirroring.answers import Answer
from graft.mirroring.differences import DifferenceWriter, difference_store
from graft.printable import printable
from graft.search.client import open_client
from graft.settings import Settings
from graft.types import RouteKey, Side
from tests.cli.project import Project
from tests.mirroring.test_differences import mirrored

KEY = RouteKey("GET", "/items/{id:int}")
HOSTILE = "x\x1b[2J\x1b]0;title\x07\x9b31m\u202eevil\rover"


def hostile_project(project: Project) -> None:
    text = json.dumps(HOSTILE)
    project.write(
        "switches.toml",
        f'["{KEY}"]\nshare = 10\nmirror = 100\ntripped = {text}\nhold = {text}\nheld_by = {text}\n',
    )
    event = {"at": "2026-01-01T00:00:00.000+00:00", "route": str(KEY), "operation": HOSTILE, "from": {"share": 0}}
    event |= {"to": {"share": 10}, "by": HOSTILE, "why": HOSTILE, "host": HOSTILE, "pid": 1}
    project.write("var/history.jsonl", json.dumps(event) + "\n")
    answer = Answer(Side.NATIVE, 200, (), HOSTILE.encode(), 1.0)

    async def keep() -> None:
        settings = Settings.load()
        async with open_client(settings) as client, DifferenceWriter(difference_store(settings, client)) as store:
            await store.keep(mirrored(key=KEY, path=HOSTILE, note=HOSTILE, native=answer))
            await store.flush()

    anyio.run(keep)


@pytest.mark.parametrize(
    "words",
    [
        ("routes",),
        ("history",),
        ("differences",),
        ("differences", str(KEY)),
        ("promote", str(KEY)),
        ("shift", str(KEY), "20"),
        ("mirror", str(KEY), "20"),
        ("release", str(KEY)),
        ("rollback", str(KEY)),
        ("rollback", str(KEY), "--hold", HOSTILE),
        ("rollback", "--all"),
        ("shift", f"GET /x{HOSTILE}", "50"),
        ("shift", str(KEY), HOSTILE),
        ("shift", HOSTILE, HOSTILE),
        (HOSTILE,),
        ("routes", f"--{HOSTILE}"),
        ("doctor",),
    ],
    ids=lambda words: " ".join(words)[:40].encode("unicode_escape").decode(),
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_nothing_that_is_stored_steers_the_terminal(
    project: Project, words: tuple[str, ...], as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_project(project)
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "x" * 43)
    monkeypatch.setenv("PORT", "9")
    result = project.run(*words, *(("--json",) if as_json else ()))
    assert result.output
    steering = {character for character in result.output if not character.isprintable()} - {"\n"}
    assert steering == set(), result.output


def test_what_does_not_print_is_escaped_and_the_rest_stays() -> None:
    assert printable("Grüße, 東京 ✓") == "Grüße, 東京 ✓"
    assert printable("a\nb\tc\x1b\x7f\x85\u2028\u200b\ud800") == r"a\nb\tc\x1b\x7f\x85\u2028\u200b\ud800"
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"
