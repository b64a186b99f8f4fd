"""docs/how-it-works.md names what is there, and real requests go the way that it describes."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import pytest

from tests.docs.messages import PROJECT

PAGE = PROJECT / "docs" / "how-it-works.md"
DRAWING = PROJECT / "docs" / "ways.svg"
GRAFT = PROJECT / "graft"
NAME = re.compile(r"`([a-z_]+(?:\.\w+)+)`")
WAYS = {
    "One legacy request": "/plain",
    "One async view": "/async",
    "One native request": "/native",
    "One mirrored request": "/mirrored",
}


def parts_of_graft() -> set[str]:
    return {path.stem for path in GRAFT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def names(text: str) -> list[str]:
    """The functions, classes and modules of graft that ``text`` names, in their order."""
    known = parts_of_graft()
    return [name for name in NAME.findall(text) if name.partition(".")[0] in known and not name.endswith(".py")]


def named_object(name: str) -> object:
    """What ``name`` is: the longest module that can be imported, and then attributes. Raises AttributeError."""
    steps = name.split(".")
    module, length = importlib.import_module("graft"), 0
    for count in range(1, len(steps) + 1):
        try:
            module, length = importlib.import_module(".".join(["graft", *steps[:count]])), count
        except ModuleNotFoundError:
            break
    found: object = module
    for step in steps[length:]:
        found = getattr(found, step)
    return found


def rooms_of(way: str) -> list[tuple[str, list[str]]]:
    """The numbered steps below the heading ``way``: the room in bold, and its own functions of that step."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {way}\n")[1].split("\n## ")[0]
    steps = re.findall(r"^\d\. \*\*(\w+)\*\*(.*?)(?=^\d\. |\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    return [(room, [name for name in names(text) if name.startswith(f"{room}.")]) for room, text in steps]


@pytest.mark.parametrize("name", sorted(set(names(PAGE.read_text(encoding="utf-8")))))
def test_what_the_page_names_is_there(name: str) -> None:
    assert named_object(name) is not None


def test_a_name_that_is_not_there_is_found_out() -> None:
    with pytest.raises(AttributeError):
        named_object("routing.frontdoor.FrontDoor.knock")
    with pytest.raises(AttributeError):
        named_object("routing.backdoor.BackDoor")


def test_every_room_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rooms = {path.name for path in GRAFT.iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if f"`graft/{room}/`" not in page} == set()
    assert set(re.findall(r"`graft/(\w+)/`", page)) <= rooms


def test_every_room_and_function_of_the_drawing_is_there() -> None:
    drawn = re.findall(r"<text[^>]*>([a-z]\w*(?:\.\w+)+)</text>", DRAWING.read_text(encoding="utf-8"))
    assert len(drawn) > 8
    for name in drawn:
        assert named_object(name) is not None
    for way in WAYS:
        for room, _ in rooms_of(way):
            assert f">{room}</text>" in DRAWING.read_text(encoding="utf-8"), room


@pytest.mark.parametrize("way", WAYS)
def test_a_way_enters_each_room_once(way: str) -> None:
    rooms = [room for room, _ in rooms_of(way)]
    assert len(rooms) >= 4
    assert len(rooms) == len(set(rooms))


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "tests.docs.entered", str(tmp_path_factory.mktemp("ways")), *WAYS.values()]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=90)
    assert run.returncode == 0, run.stderr
    found: dict[str, list[str]] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_real_request_goes_the_way_that_the_page_describes(way: str, entered: dict[str, list[str]]) -> None:
    described = [name for _, of_room in rooms_of(way) for name in of_room if callable_of(name)]
    assert len(described) >= 5
    order = entered[WAYS[way]]
    missing = [name for name in described if name not in order]
    assert missing == []
    assert [name for name in order if name in described] == described


def callable_of(name: str) -> bool:
    """Whether ``name`` is a function: entering a class shows as its ``__init__``, and a thread's life has no entry."""
    return callable(found := named_object(name)) and not isinstance(found, type) and name not in RUNS_FOR_EVER


RUNS_FOR_EVER = {"threads.worker_threads.WorkerThreads.run"}
