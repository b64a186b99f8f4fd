from __future__ import annotations

import os
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from graft.errors import SwitchesError
from graft.operations import switches
from graft.operations.edits import set_switch
from graft.operations.switch import Gates, Switch, Trip
from graft.operations.switches import Switches, load, parse
from graft.types import RouteKey

ARTICLE = RouteKey("GET", "/api/articles/{id:int}")
HERE = Path("switches.toml")


def read(text: str) -> Switches:
    return parse(text, HERE)


def refusal(text: str) -> str:
    with pytest.raises(SwitchesError) as caught:
        read(text)
    return str(caught.value)


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    assert dict(load(tmp_path / "switches.toml")) == {}


def test_an_entry_says_everything_about_its_route() -> None:
    text = """
        ["get  /api/articles/{id:int}"]
        share = 12.25
        mirror = 100
        ignore = ["body.took", "header.etag", "body.items[*].score"]
        headers = ["Content-Type"]
        tolerance = 0.5
        unordered = ["body.tags"]
        redact = ["X-Key"]
        sticky = "cookie:visitor"
        hooks = true
        deadline = 2.5
        trip = { percent = 20, least = 3 }
        gates = { compared = 7 }
        tripped = "why"
        tripped_at = 2025-01-31T12:00:00Z
    """
    assert read(text)[ARTICLE] == Switch(
        share=12.25,
        mirror=100,
        ignore=("body.took", "header.etag", "body.items[*].score"),
        headers=("content-type",),
        tolerance=0.5,
        unordered=("body.tags",),
        redact=("x-key",),
        sticky="cookie:visitor",
        hooks=True,
        deadline=2.5,
        trip=Trip(percent=20, least=3),
        gates=Gates(compared=7),
        tripped="why",
        tripped_at=datetime(2025, 1, 31, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize(("method", "mirror"), [("GET", 100), ("HEAD", 100), ("POST", 0), ("PUT", 0), ("OPTIONS", 0)])
def test_a_route_without_an_entry_starts_dark(method: str, mirror: float) -> None:
    switch = read("").for_route(RouteKey(method, "/x"))
    assert (switch.share, switch.mirror) == (0, mirror)


def test_an_entry_without_a_mirror_is_mirrored_only_if_it_reads() -> None:
    found = read('["GET /x"]\n["POST /x"]\nshare = 5')
    assert [found[RouteKey("GET", "/x")].mirror, found[RouteKey("POST", "/x")].mirror] == [100, 0]


def test_a_write_is_mirrored_where_its_own_entry_says_so() -> None:
    found = read('[defaults]\nmirror = 50\n["POST /x"]\nmirror = 20\n["POST /y"]\n["GET /x"]')
    assert {str(key): switch.mirror for key, switch in found.items()} == {"POST /x": 20, "POST /y": 0, "GET /x": 50}
    assert found.for_route(RouteKey("PUT", "/z")).mirror == 0
    assert found.for_route(RouteKey("GET", "/z")).mirror == 50


def test_defaults_lie_under_every_route_and_under_parts_of_its_tables() -> None:
    found = read('[defaults]\ndeadline = 3\ntrip = { window = 5 }\n["GET /x"]\ntrip = { least = 2 }')
    assert found[RouteKey("GET", "/x")].trip == Trip(least=2, window=5)
    assert found.for_route(RouteKey("GET", "/other")).deadline == 3


@pytest.mark.parametrize("setting", ["share = 1", 'tripped = "why"', "tripped_at = 2025-01-31T12:00:00Z"])
def test_defaults_can_not_send_traffic(setting: str) -> None:
    assert "line 2" in refusal(f"[defaults]\n{setting}")


@pytest.mark.parametrize(
    ("setting", "mend"),
    [
        ("share = 101", "from 0 to 100"),
        ("share = -1", "from 0 to 100"),
        ("share = true", "from 0 to 100"),
        ('share = "10"', "from 0 to 100"),
        ("share = nan", "from 0 to 100"),
        ("share = 1.234", "two decimals"),
        ("mirror = 1e9", "from 0 to 100"),
        ('ignore = "status"', "list of paths"),
        ('ignore = ["took"]', "list of paths"),
        ("ignore = [1]", "list of paths"),
        ('headers = [""]', "header names"),
        ("tolerance = -0.1", "0 upwards"),
        ("tolerance = inf", "0 upwards"),
        ('sticky = "cookie"', "cookie:NAME"),
        ('sticky = "xclient"', "cookie:NAME"),
        ('hooks = "yes"', "true or false"),
        ("deadline = 0", "seconds above 0"),
        ("trip = { least = 0 }", "percent = 10"),
        ("trip = { lest = 1 }", "percent = 10"),
        ("trip = 3", "percent = 10"),
        ("gates = { parity = 101 }", "compared = 100"),
        ("gates = { confidence = 100 }", "confidence = 99"),
        ("gates = { mirror = 0 }", "compared = 100"),
        ("ladder = [1, 10]", "up to 100"),
        ("ladder = [10, 1, 100]", "up to 100"),
        ("ladder = 5", "up to 100"),
        ("ladder = []", "up to 100"),
        ("ladder = [0, 100]", "up to 100"),
        ("bake = -1", "seconds, or a list"),
        ("bake = true", "seconds, or a list"),
        ("bake = []", "seconds, or a list"),
        ('watch = "5m"', "seconds from 0"),
        ("tripped_at = 3", "2025-01-31T12:00:00Z"),
        ("shaer = 3", "Did you mean share?"),
        ("colour = 3", "Known are allow, bake, climb"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line_and_the_mend(setting: str, mend: str) -> None:
    message = refusal(f'# heading\n["GET /fine"]\nshare = 1\n\n["GET /x"]\n# below\n{setting}\n')
    assert message.startswith("switches.toml, line 7: ")
    assert mend in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('["GET /a"\nshare = 1', 1),
        ('["GET /a"]\nshare = 1\nshare = 2', 3),
        ('x = """\n\n', 3),
        (f"\na = {'[' * 5000}", 2),
        ('\n["GET /a"]\nignore = [\n"status",\n"nonsense",\n]\n', 3),
        ('\n"GET /a" = { share = 101 }', 2),
        ('\n"GET /a".share = 101', 2),
        ('["GET /a"]\n\n["GET /a".trip]\nleast = 0', 3),
        ('\n["GET /a"]\n["get  /a"]', 3),
        ("\n\n[nonsense]", 3),
        ("\ndefaults = 3", 2),
        ("\n'GET /a' = 3", 2),
        ("['GET /a']\r\n\r\nshare = 101\r\n", 3),
    ],
)
def test_whatever_is_wrong_the_line_is_named(text: str, line: int) -> None:
    assert f"line {line}:" in refusal(text)


def test_a_long_wrong_value_is_shortened() -> None:
    assert len(refusal(f'["GET /a"]\nshare = "{"x" * 9999}"')) < 300


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "switches.toml"
    path.write_bytes(b'["GET /a"]\n# caf\xe9\n')
    with pytest.raises(SwitchesError, match="line 2: is not UTF-8"):
        load(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SwitchesError, match="can't be read"):
        load(tmp_path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "switches.toml"
    path.write_text("# comment\n" * 60_000)
    with pytest.raises(SwitchesError, match="is larger than"):
        load(path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "switches.toml"
    path.write_bytes(b'\xef\xbb\xbf["GET /a"]\nshare = 3\n')
    assert load(path)[RouteKey("GET", "/a")].share == 3


def test_every_setting_has_a_mend() -> None:
    assert {each.name for each in fields(Switch)} == set(switches._EXPECTED)


ROUTE = '["GET /api/r{}/{{id:int}}"]\nshare = 10\nmirror = 100\nignore = ["body.took", "header.etag"]\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "switches.toml"


def test_two_thousand_routes_are_no_problem(path: Path) -> None:
    path.write_text("".join(ROUTE.format(number) for number in range(2000)))
    assert len(load(path)) == 2000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("".join(ROUTE.format(number) for number in range(2001)), "has 2001 tables, more than 2000"),
        ("".join(ROUTE.format(number) for number in range(30_000)), "is larger than 524288 bytes"),
        ('["GET /a"]\n' + "x = 1\n" * 30_000, "has more than 20000 lines"),
        ('["GET /a"]\nignore = [' + '"status", ' * 1000 + "]", "line 2: is longer than 2000 characters"),
        ("a." * 900 + "b = 1", "line 1: has more than 20 dots in a key"),
        ("[" + "a . " * 400 + "b]", "line 1: has more than 20 dots in a key"),
        ("x = " + "9" * 1990, "'x' is not a route"),
        ("[" * 1990, "line 1"),
    ],
    ids=["routes", "bytes", "lines", "line", "dots", "dotted table", "digits", "brackets"],
)
def test_what_is_too_large_is_refused_before_its_toml_is_read(path: Path, text: str, found: str) -> None:
    path.write_text(text)
    with pytest.raises(SwitchesError) as caught:
        load(path)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_error_in_a_large_file_still_names_its_line(path: Path) -> None:
    text = "".join(ROUTE.format(number) for number in range(1000)) + '["GET /last"]\nmirror = 1\nshare = 101\n'
    path.write_text(text)
    with pytest.raises(SwitchesError, match=r"line 4003: .*share = 101"):
        load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO")
@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_what_is_no_plain_file_is_refused_at_once(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(SwitchesError, match=r"(is no plain file|Is a directory)\. Make it a file that"):
        load(path)
    with pytest.raises(SwitchesError, match=r"is no plain file|Is a directory"):
        set_switch(path, RouteKey("GET", "/a"), share=1)


@pytest.mark.parametrize("defaults", ["gates = { parity = 99, colour = 3 }", 'sticky = "cookie:session"', "bake = -1"])
def test_what_is_wrong_in_the_defaults_is_said_of_them_and_not_of_a_route(defaults: str) -> None:
    said = refusal(f'# a comment\n[defaults]\n{defaults}\n\n["GET /x"]\nshare = 10\ngates = {{ confidence = 90 }}\n')
    assert "line 3" in said
    assert '["defaults"]' in said
