from __future__ import annotations

import errno
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from graft import files
from graft.errors import SwitchesError
from graft.operations import edits
from graft.operations.edits import edit, set_switch
from graft.operations.switches import load
from graft.types import RouteKey

A = RouteKey("GET", "/a")
B = RouteKey("POST", "/b/{id:int}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "switches.toml"


def test_an_edit_keeps_every_comment_and_the_order(path: Path) -> None:
    path.write_text(
        "# who: web team\n['GET /a'] # careful\nshare = 3   # why 3\n\n# about b\n[\"POST /b/{id:int}\"]\n\n# end\n"
    )
    set_switch(path, A, share=10.0, mirror=12.5, tripped="five failed")
    assert path.read_text() == (
        "# who: web team\n['GET /a'] # careful\nshare = 10   # why 3\nmirror = 12.5\ntripped = \"five failed\"\n\n"
        '# about b\n["POST /b/{id:int}"]\n\n# end\n'
    )


def test_a_new_file_says_what_it_is(path: Path) -> None:
    set_switch(path, B, share=1)
    assert path.read_text().startswith("# Which side answers")
    assert tomllib.loads(path.read_text()) == {"POST /b/{id:int}": {"share": 1}}


def test_none_takes_a_setting_out(path: Path) -> None:
    path.write_text('["GET /a"]\nshare = 0\ntripped = "why"\n')
    switches = set_switch(path, A, tripped=None, deadline=None)
    assert path.read_text() == '["GET /a"]\nshare = 0\n'
    assert switches[A].tripped is None


@pytest.mark.parametrize(
    "text",
    [
        '"get   /a" = { share = 3 }',
        '"GET /a".share = 3',
        '["GET /a"]',
        '["GET /a".trip]\nleast = 3',
        '["GET /a"]\nshare = 1\n["GET /z"]\n["GET /a".trip]\nleast = 3',
        "[defaults]\ndeadline = 3",
    ],
)
def test_a_route_is_found_however_it_is_written(path: Path, text: str) -> None:
    path.write_text(text)
    set_switch(path, A, share=10, mirror=20)
    assert (load(path)[A].share, load(path)[A].mirror) == (10, 20)
    assert len([key for key in load(path) if key == A]) == 1


LOOKS_LIKE_A_HEADER = [
    '["GET /a"]\ntripped = """\n["GET /a"]\nshare = 3\n"""\nshare = 4\n',
    '["GET /z"]\nhold = """\n["GET /a"]\nshare = 3"""\n["GET /a"]\n',
    '["GET /z"]\nhold = """\n["GET /a"]\nshare = 3"""\n',
    '["GET /z"]\nignore = [\n  "body.x",\n# [\n]\n["GET /a"]\nshare = 1\n',
    '["GET /a"]\n  ["GET /a".trip]\n  least = 3\n["GET /z"]\n',
    "['GET /a']\nshare = 1 # [\n\n# next\n[ \"GET /z\" ] # x\n",
    '[defaults]\ndeadline = 3\n[defaults.trip]\nleast = 3\n["GET /z"]\n# last',
    '["get   /a"]\nshare = 1\n["\\u0047ET /z"]\n',
    '["GET /a"]\r\nshare = 1\r\n["GET /z"]\r\nshare = 2\r\n',
]


@pytest.mark.parametrize("text", LOOKS_LIKE_A_HEADER)
@pytest.mark.parametrize(
    "change", [{"share": 7.0}, {"share": 7.0, "tripped": None}, {"tripped": "a\n[b]", "mirror": 5}]
)
def test_what_only_looks_like_a_header_leads_nowhere(path: Path, text: str, change: dict[str, Any]) -> None:
    path.write_bytes(text.encode())
    before = load(path)
    set_switch(path, A, **change)
    after = load(path)
    assert after.keys() == before.keys() | {A}
    assert {key: after[key] for key in before if key != A} == {key: before[key] for key in before if key != A}
    wanted = replace(before.for_route(A), **change)
    assert after[A] == wanted


def test_of_two_thousand_routes_only_the_one_that_changes_is_read_with_tomlkit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [
        f'# about {n}\n["GET /r{n}"]  # careful\nshare = {n % 100}\nignore = ["body.took"]\n\n' for n in range(1990)
    ]
    path.write_text("".join(tables))
    lengths = []
    parse = edits.tomlkit.parse
    monkeypatch.setattr(edits.tomlkit, "parse", lambda text: lengths.append(len(text)) or parse(text))
    set_switch(path, RouteKey("GET", "/r77"), share=100, tripped="why")
    tables[77] = tables[77].replace("share = 77", "share = 100").replace('took"]\n', 'took"]\ntripped = "why"\n')
    assert path.read_text() == "".join(tables)
    set_switch(path, A, share=5)
    assert path.read_text() == "".join(tables) + '["GET /a"]\nshare = 5\n'
    assert max(lengths) < 200


def test_several_routes_change_in_one_step(path: Path) -> None:
    with edit(path) as change:
        change.set(A, share=5)
        change.set(B, share=6)
    assert [switch.share for switch in load(path).values()] == [5, 6]


def test_nothing_is_written_when_the_outcome_would_be_wrong(path: Path) -> None:
    path.write_text('["GET /a"]\nshare = 3\n')
    with pytest.raises(SwitchesError, match="from 0 to 100"):
        set_switch(path, A, share=101)
    assert path.read_text() == '["GET /a"]\nshare = 3\n'
    assert os.listdir(path.parent) != []


def test_nothing_is_written_when_the_block_raises(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), edit(path) as change:
        change.set(A, share=1 / 0)
    assert not path.exists()


def test_nothing_is_written_when_nothing_changes(path: Path) -> None:
    path.write_text('["GET /a"]\nshare = 3\n')
    before = path.stat()
    set_switch(path, A, share=3)
    assert path.stat().st_ino == before.st_ino


def test_a_file_is_not_made_for_nothing(path: Path) -> None:
    with edit(path) as change:
        assert change.text() == ""
    assert not path.exists()


def test_a_broken_file_is_left_alone(path: Path) -> None:
    path.write_text('["GET /a"\n')
    with pytest.raises(SwitchesError, match="line 1"):
        set_switch(path, A, share=3)
    assert path.read_text() == '["GET /a"\n'


def test_a_symlink_stays_a_symlink(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "shipped" / "real.toml"
    target.parent.mkdir()
    target.write_text('["GET /a"]\n')
    path.symlink_to(target)
    set_switch(path, A, share=4)
    assert path.is_symlink()
    assert load(target)[A].share == 4


def test_a_failed_replace_leaves_the_old_file_and_no_scrap(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text('["GET /a"]\nshare = 3\n')

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SwitchesError, match="No space left on device"):
        set_switch(path, A, share=4)
    assert load(path)[A].share == 3
    assert {name for name in os.listdir(path.parent) if not name.endswith(".lock")} == {"switches.toml"}


def test_a_mount_point_that_can_not_be_written_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("")

    def busy(*_: Any) -> None:
        path.unlink()
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(files.os, "replace", busy)
    with pytest.raises(SwitchesError, match="can't be written"):
        set_switch(path, A, share=4)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SwitchesError, match="directory is not there"):
        set_switch(tmp_path / "nowhere" / "switches.toml", A, share=4)


def test_a_directory_that_can_not_be_written_is_named(path: Path) -> None:
    path.with_name(".switches.toml.lock").mkdir()
    with pytest.raises(SwitchesError, match=r"can't be written: .* change it where it is shipped from"):
        set_switch(path, A, share=4)


def test_a_lock_held_for_too_long_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "LOCK_SECONDS", 0.05)
    with (
        FileLock(path.with_name(".switches.toml.lock")),
        pytest.raises(SwitchesError, match="another process has held"),
    ):
        set_switch(path, A, share=4)


_WRITER = """
import sys
from pathlib import Path
from graft.operations.edits import set_switch
from graft.types import RouteKey
for step in range(20):
    set_switch(Path(sys.argv[1]), RouteKey("GET", f"/{sys.argv[2]}/{step}"), share=step)
"""


def test_writers_in_several_processes_never_lose_each_others_change(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name]) for name in "abc"]
    while any(writer.poll() is None for writer in writers):
        load(path)  # a reader never meets half a file
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    wanted = {RouteKey("GET", f"/{name}/{step}"): step for name in "abc" for step in range(20)}
    assert {key: switch.share for key, switch in load(path).items()} == wanted


_keys = st.sampled_from([A, B, RouteKey("GET", "/c/{name}"), RouteKey("PUT", '/quo"te'), RouteKey("GET", "/ü.x")])
_changes = st.fixed_dictionaries(
    {},
    optional={
        "share": st.none() | st.integers(0, 10000).map(lambda hundredths: hundredths / 100),
        "mirror": st.none() | st.integers(0, 100),
        "tripped": st.none() | st.text('a\n"\\#é\x7f', max_size=9),
        "deadline": st.none() | st.floats(0.1, 100),
        "ignore": st.none() | st.lists(st.sampled_from(["status", "body.a", "header.etag"])),
    },
)
_START = """\
# top
["GET /a"] # a
share = 1 # one

# between
["POST /b/{id:int}"]
mirror = 2

# end
[defaults]
deadline = 4
"""


@given(st.lists(st.tuples(_keys, _changes), max_size=12))
def test_any_sequence_of_edits_ends_as_the_sum_of_them(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[RouteKey, dict[str, Any]]]
) -> None:
    path = tmp_path_factory.mktemp("edits") / "switches.toml"
    path.write_text(_START)
    wanted: dict[RouteKey, dict[str, Any]] = {A: {"share": 1}, B: {"mirror": 2}}
    for key, changes in steps:
        set_switch(path, key, **changes)
        wanted.setdefault(key, {}).update(changes)
    found = tomllib.loads(path.read_text())
    assert found.pop("defaults") == {"deadline": 4}
    assert {RouteKey.parse(name): table for name, table in found.items()} == {
        key: {name: value for name, value in table.items() if value is not None} for key, table in wanted.items()
    }
    for comment in ("# top", "# a\n", "# between\n", "# end\n"):
        assert comment in path.read_text()
