from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from graft.cli import differences, main
from graft.cli import open as open_command
from graft.cli.output import SafeConsole
from graft.control.offline import Figures
from graft.control.tokens import Role, Tokens, named_tokens
from graft.figures.recorder import RECORDER
from graft.figures.route_figures import RouteFigures
from graft.mirroring.compare import Change, Difference
from graft.mirroring.differences import DifferenceWriter, difference_store
from graft.mirroring.noise import UNTOLD
from graft.operations.switches import load
from graft.search.client import open_client
from graft.settings import Settings
from graft.types import RouteKey
from tests.cli.project import Project
from tests.mirroring.test_differences import mirrored

KEY = RouteKey("GET", "/thing")


APP = """
    from flask import Flask

    app = Flask(__name__)
    for rule in ("/thing", "/b", "/c", "/items/<int:number>", "/old"):
        app.add_url_rule(rule, rule, lambda **_: "legacy", methods=["GET", "POST"])
"""
ROUTES = """
    from starlette.routing import Route

    async def answer(request): ...

    routes = [
        *(Route(path, answer, methods=["GET", "POST"]) for path in ("/thing", "/b", "/c", "/items/{id:int}")),
        Route("/new", answer),
    ]
"""


@pytest.fixture(autouse=True)
def home(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    empty.write("shop.py", APP)
    empty.write("async_routes/__init__.py", ROUTES)
    monkeypatch.setenv("GRAFT_LEGACY", "shop:app")
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "token")
    monkeypatch.setenv("PORT", "9")
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.delenv("SUDO_USER", raising=False)
    return empty.folder


def graft(*words: str) -> Result:
    return CliRunner().invoke(main, words, env={"COLUMNS": "200"})


def said(*words: str) -> str:
    """What it prints; which gateway it was for stands beside that, on stderr."""
    result = graft(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def switches() -> Path:
    return Path("switches.toml")


# shift and mirror


def test_shift_sets_the_share_with_the_gateway_down() -> None:
    assert said("shift", "GET /thing", "10") == "GET /thing: share 0 -> 10, mirror 100\n"
    assert load(switches())[KEY].share == 10
    assert said("shift", "get  /thing", "2.5") == "GET /thing: share 10 -> 2.5, mirror 100\n"
    assert json.loads(said("shift", "GET /thing", "7", "--json")) == {"route": "GET /thing", "share": 7, "mirror": 100}


def test_shift_takes_back_a_trip() -> None:
    switches().write_text('["GET /thing"]\nshare = 0\ntripped = "five failed"\ntripped_at = 2025-01-01T00:00:00Z\n')
    assert "(was tripped: five failed)" in said("shift", "GET /thing", "5")
    assert load(switches())[KEY].tripped is None
    assert load(switches())[KEY].tripped_at is None


def test_mirror_sets_the_mirror_and_warns_of_writes() -> None:
    assert said("mirror", "GET /thing", "50") == "GET /thing: share 0, mirror 100 -> 50\n"
    assert "warning: POST writes" in graft("mirror", "POST /thing", "50").stderr
    assert "warning" not in graft("mirror", "POST /thing", "0").stderr


@pytest.mark.parametrize("command", ["shift", "mirror"])
@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("GET /thin", 'There is no route "GET /thin". Did you mean "GET /thing"?'),
        ("POST /thin", 'There is no route "POST /thin". Did you mean "POST /thing"?'),
        ("PUT /elsewhere/at/all", 'There is no route "PUT /elsewhere/at/all". To set'),
        ("GET /new", "GET /new is not switched: only the native side has it"),
        ("GET /old", "GET /old is not switched: only the Flask app has it"),
    ],
)
def test_a_route_that_is_not_switched_is_refused_and_can_be_forced(command: str, route: str, message: str) -> None:
    result = graft(command, route, "1")
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.endswith("To set it all the same: --force.\n")
    assert not switches().exists()
    said(command, route, "1", "--force")
    assert RouteKey.parse(route) in load(switches())


def test_the_name_of_the_flask_rule_leads_to_the_route() -> None:
    assert said("shift", "GET /items/{number:int}", "5").startswith("GET /items/{id:int}: share 0 -> 5")


def test_an_app_that_can_not_be_loaded_is_no_reason_to_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_LEGACY", "not_there:app")
    result = graft("shift", "GET /thing", "10")
    assert result.exit_code == 2
    assert "The routes of this app can't be read. GRAFT_LEGACY" in result.output
    said("shift", "GET /thing", "10", "--force")
    # Down is always possible: nothing of the app is needed.
    assert said("shift", "GET /thing", "5") == "GET /thing: share 10 -> 5, mirror 100\n"
    said("mirror", "GET /thing", "5")
    assert graft("shift", "GET /thing", "6").exit_code == 2


@pytest.mark.parametrize("command", ["shift", "mirror", "rollback", "release", "promote", "history"])
@pytest.mark.parametrize("route", ["GET /\x1b[2Jx", "GET /a\x07", "GET /\u202egpj.exe", "GET /\ud800"])
def test_control_characters_are_neither_written_nor_echoed(command: str, route: str) -> None:
    percent = ("1", "--force") if command in ("shift", "mirror") else ()
    result = graft(command, route, *percent)
    assert (result.exit_code, "is not a route" in result.output) == (2, True)
    assert all(character.isprintable() or character == "\n" for character in result.output)
    assert not switches().exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("shift", "GET /thing", "101"), "101"),
        (("shift", "GET /thing", "1.234"), "two decimals"),
        (("shift", "GET /thing", "nan"), "0 to 100"),
        (("shift", "GET /thing", "lots"), "lots"),
        (("mirror", "GET /thing", "-1"), "-1"),
        (("shift", "thing", "1"), "is not a route"),
        (("shift", "GET"), "is not a route"),
        (("rollback",), "Name a route, or say --all"),
        (("rollback", "GET /thing", "--all"), "Name a route, or say --all"),
        (("rollback", "GET /typo"), 'has no entry for "GET /typo"'),
        (("rollback", "GET /thing", "--hold", " "), "say why"),
        (("rollback", "GET /thin", "--hold", "why"), 'Did you mean "GET /thing"?'),
        (("release", "GET /thing"), 'has no entry for "GET /thing". Held: none.'),
    ],
)
def test_what_can_not_be_is_refused_with_2(words: tuple[str, ...], message: str) -> None:
    result = graft(*words)
    assert result.exit_code == 2
    assert message in result.output
    assert not switches().exists()


def test_a_broken_file_is_left_alone_and_its_line_named() -> None:
    switches().write_text('["GET /thing"]\nshare = 500\n')
    result = graft("shift", "GET /thing", "1")
    assert (result.exit_code, "line 2" in result.output) == (2, True)
    assert switches().read_text() == '["GET /thing"]\nshare = 500\n'


# rollback


def test_rollback_gives_one_route_back_with_everything_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:9")
    switches().write_text('["GET /thing"] # mine\nshare = 50\nmirror = 20\n["GET /b"]\nshare = 5\n')
    assert said("rollback", "GET /thing") == "GET /thing: share 50 -> 0\n"
    assert switches().read_text() == '["GET /thing"] # mine\nshare = 0\nmirror = 20\n["GET /b"]\nshare = 5\n'


def test_rollback_all_gives_everything_back() -> None:
    switches().write_text('["GET /thing"]\nshare = 50\n["GET /b"]\nshare = 5\n["GET /c"]\n')
    assert json.loads(said("rollback", "--all", "--json")) == {
        "routes": [{"route": "GET /thing", "share": 0, "was": 50}, {"route": "GET /b", "share": 0, "was": 5}]
    }
    assert {switch.share for switch in load(switches()).values()} == {0}
    for words in ("--all",), ("GET /thing",):  # which a folder that is not the gateway's would say as well
        again = graft("rollback", *words)
        assert (again.exit_code, again.stdout) == (2, "")
        assert f"Nothing was changed: no gateway is running with {switches().absolute()}" in again.stderr
    assert graft("rollback", "GET /typo").output.endswith("Above 0: none.\n")


def test_a_rollback_where_there_is_no_file_makes_none_and_doubts_that_it_is_the_gateways() -> None:
    result = graft("rollback", "--all")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Is that the file of the gateway?" in result.stderr
    assert not switches().exists()


# hold and release


def test_a_hold_stops_people_until_it_is_released() -> None:
    said("shift", "GET /thing", "50")
    assert said("rollback", "GET /thing", "--hold", "wrong\x1b[31m\ntotals") == (
        "GET /thing: share 50 -> 0, held: wrong [31m totals\n"
    )
    switch = load(switches())[KEY]
    assert (switch.share, switch.hold, switch.held_by) == (0, "wrong [31m totals", "alice")
    assert switch.held_at is not None
    sentence = 'GET /thing is held by alice: "wrong [31m totals". To let it move again: graft release "GET /thing"\n'
    for words in (("shift", "GET /thing", "1"), ("shift", "GET /thing", "1", "--force")):
        result = graft(*words)
        assert (result.exit_code, result.output) == (1, f"not done: {sentence}")
    said("mirror", "GET /thing", "20")
    said("shift", "GET /thing", "0")
    assert load(switches())[KEY].hold is not None
    assert said("release", "GET /thing", "--why", "mended") == "GET /thing: released (was held: wrong [31m totals)\n"
    assert said("release", "GET /thing") == "GET /thing is not held.\n"
    said("shift", "GET /thing", "1")
    assert load(switches())[KEY].held_by is None


def test_a_dark_route_without_an_entry_can_be_held() -> None:
    held = json.loads(said("rollback", "GET /thing", "--hold", "not yet", "--json"))
    assert held == {"routes": [{"route": "GET /thing", "share": 0, "was": 0, "hold": "not yet"}]}
    assert json.loads(said("release", "GET /thing", "--json")) == {
        "route": "GET /thing",
        "hold": None,
        "was": "not yet",
    }


def test_all_are_held_at_once() -> None:
    switches().write_text('["GET /thing"]\nshare = 50\n["GET /b"]\n')
    assert said("rollback", "--all", "--hold", "the database is read-only") == (
        "GET /thing: share 50 -> 0, held: the database is read-only\n"
        "GET /b: share 0 already, held: the database is read-only\n"
    )


# history


def test_the_history_says_who_when_what_and_why() -> None:
    assert said("history") == "Nothing was changed yet.\n"
    said("shift", "GET /thing", "10", "--why", "first users\x1b[2J")
    said("mirror", "GET /b", "5")
    said("rollback", "GET /thing", "--hold", "wrong totals")
    said("release", "GET /thing")
    table = said("history")
    rows = [line.split("  ") for line in table.splitlines()]
    assert [next(filter(None, row[1:])).strip() for row in rows[1:]] == [
        "GET /thing",
        "GET /thing",
        "GET /b",
        "GET /thing",
    ]
    assert "share 10 -> 0, held" in table
    assert "released" in table
    assert "mirror 100 -> 5" in table
    assert "first users [2J" in table
    events = json.loads(said("history", "GET /thing", "--last", "2", "--json"))["history"]
    assert [(event["operation"], event["by"], event["why"]) for event in events] == [
        ("release", "alice", None),
        ("rollback", "alice", "wrong totals"),
    ]
    assert (events[1]["from"]["share"], events[1]["to"]["share"]) == (10, 0)


def test_the_history_of_a_route_that_is_mistyped_is_2_and_of_one_that_is_gone_is_told() -> None:
    result = graft("history", "GET /thingg")
    assert result.exit_code == 2
    assert 'There is no route "GET /thingg". Did you mean "GET /thing"?' in result.stderr
    assert said("history", "GET /thing") == "Nothing was changed yet.\n"
    said("shift", "GET /gone", "10", "--force")
    assert "share 0 -> 10" in said("history", "GET /gone")


@pytest.mark.parametrize("percent", ["1000", "ten", "nan", "100.1"])
def test_a_percent_that_is_none_is_told_in_plain_words(percent: str) -> None:
    for command in ("shift", "mirror"):
        result = graft(command, "GET /thing", percent)
        assert result.exit_code == 2
        assert f"'{percent}' is no number from 0 to 100" in result.stderr


def test_of_a_route_that_is_not_switched_nothing_is_compared() -> None:
    assert "GET /old is on the legacy side alone, so nothing is compared." in said("differences", "GET /old")
    assert "GET /new is on the native side alone, so nothing is compared." in said("differences", "GET /new")
    assert said("differences", "GET /thing") == "No differences are kept.\n"


def test_what_changes_nothing_is_no_history() -> None:
    said("shift", "GET /thing", "10")
    said("shift", "GET /thing", "10")
    assert len(json.loads(said("history", "--json"))["history"]) == 1


def test_behind_sudo_the_person_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv("SUDO_USER", "alice")
    said("shift", "GET /thing", "10")
    assert json.loads(said("history", "--json"))["history"][0]["by"] == "alice (sudo)"


# differences


def keep(*all_of_them: Any) -> None:
    async def write() -> None:
        settings = Settings.load()
        async with open_client(settings) as client, DifferenceWriter(difference_store(settings, client)) as store:
            for each in all_of_them:
                await store.keep(each)
            await store.learned(KEY, frozenset({"body.took changed", f"body.rows order{UNTOLD}"}))

    anyio.run(write)


def test_differences_reads_well_as_a_table_and_with_examples() -> None:
    keep(mirrored(1), mirrored(2), mirrored(3, note="not comparable: native tried to index into [x]", differences=()))
    table = said("differences")
    assert "body.a changed" in table
    assert "learned to be noise on GET /thing: body.took changed" in table
    assert "not told on GET /thing: body.rows order (users never repeat a request; resample = 5 in" in table
    examples = said("differences", "GET /thing", "--last", "2")
    assert "body.a changed  (2 times)" in examples
    assert "native 2" in examples
    assert "legacy: 200 in 1.5 ms" in examples
    assert "native tried to index into [x]" in examples


def test_no_name_of_what_differs_is_cut_off_in_a_narrow_terminal_or_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    places = ("header.x-content-type-options", "header.set-cookie.httponly")
    found = [Difference(tuple(place.split(".")), Change.CHANGED, "a" * 90, None) for place in places]
    keep(*(mirrored(1, key=RouteKey("GET", "/items/{id:int}"), differences=(each,)) for each in found))
    pipe = graft("differences").output
    assert all(place in pipe for place in places)
    for terminal in (True, False):
        monkeypatch.setattr(SafeConsole, "is_terminal", terminal)
        for words in (("differences",), ("differences", "GET /items/{id:int}")):
            shown = CliRunner().invoke(main, words, env={"COLUMNS": "80"}).output
            together = re.sub(r"\x1b\[[\d;]*m|[\s│]", "", shown)
            assert all(place in together for place in places), shown
            assert "…" not in shown


def test_the_noise_of_many_routes_is_one_line_below_the_table() -> None:
    async def learn() -> None:
        settings = Settings.load()
        async with open_client(settings) as client, DifferenceWriter(difference_store(settings, client)) as store:
            for key in (KEY, *(RouteKey("GET", f"/{number}") for number in range(13))):
                await store.learned(key, frozenset({"body.took number"}))

    anyio.run(learn)
    assert "noise was learned on 14 routes; graft differences ROUTE lists it" in said("differences")
    assert "learned to be noise on GET /thing: body.took number" in said("differences", "GET /thing")


def test_what_an_earlier_build_differed_in_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECORDER.builds, "GET /thing", "a1")
    monkeypatch.setitem(RECORDER.builds, "GET /b", "b1")
    keep(mirrored(1), mirrored(2, key=RouteKey("GET", "/b")))
    now = {"GET /thing": RouteFigures(build="a2"), "GET /b": RouteFigures(build="b1")}
    monkeypatch.setattr(differences, "figures", lambda _: Figures(now, None, running=True))
    assert said("differences").count("of an earlier build") == 1


def test_differences_in_json_are_those_of_the_api() -> None:
    keep(mirrored(1), mirrored(2))
    found = json.loads(said("differences", "GET /thing", "--json"))
    [group] = found["differences"]
    assert (group["route"], group["what"], group["count"], len(group["newest"])) == (
        "GET /thing",
        "body.a changed",
        2,
        1,
    )
    assert found["noise"] == {"GET /thing": ["body.took changed"]}


def test_differences_are_cleared_after_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DATA", "var")
    keep(mirrored(1), mirrored(2), mirrored(3, key=RouteKey("GET", "/other")))
    asked = CliRunner().invoke(main, ["differences", "GET /thing", "--clear"], input="n\n")
    assert asked.exit_code == 1
    assert "Delete the differences of GET /thing that are kept at" in asked.stderr
    assert json.loads(said("differences", "--json"))["differences"] != []
    agreed = CliRunner().invoke(main, ["differences", "GET /thing", "--clear"], input="y\n")
    assert "2 differences of GET /thing were deleted" in agreed.stdout
    [group] = json.loads(said("differences", "--json"))["differences"]
    assert group["route"] == "GET /other"
    assert json.loads(said("differences", "--clear", "--yes", "--json")) == {"cleared": 1}
    assert "No differences are kept." in said("differences")


def test_an_example_says_where_it_was_found() -> None:
    keep(mirrored(1))
    assert f"on {socket.gethostname()}" in said("differences", "GET /thing")


def test_differences_that_can_not_be_cleared_are_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DATA", "var")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:1")
    result = graft("differences", "--clear", "--yes")
    assert result.exit_code == 2
    assert "The differences can't be cleared: " in result.stderr


def test_many_differences_and_long_answers_are_shown_short() -> None:
    from graft.mirroring.answers import Answer
    from graft.mirroring.compare import Change, Difference
    from graft.types import Side

    many = tuple(Difference(("body", n), Change.MISSING, None, "x") for n in range(50))
    keep(mirrored(differences=many, native=Answer(Side.NATIVE, 200, (), b"y" * 5000, 1.0)))
    output = said("differences", "GET /thing")
    assert "... and 30 more" in output
    assert "(not there)" in output
    assert len(output) < 10_000


def test_without_any_it_says_so_and_without_a_store_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No differences are kept." in said("differences")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:9")
    result = graft("differences")
    assert result.exit_code == 2
    assert "can't be read: Elasticsearch at http://127.0.0.1:9 can't be reached" in result.output


@pytest.mark.parametrize("name", ["shift", "mirror", "rollback", "release", "history", "promote", "differences"])
def test_help_teaches_by_example(name: str) -> None:
    assert f'graft {name} "GET /api/articles/{{id:int}}"' in said(name, "--help")


# open and token


def test_open_prints_the_link_and_needs_a_terminal_for_the_rest(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")
    assert said("open", "--print") == "http://127.0.0.1:8123/_graft/#token=token\n"
    refused = graft("open")
    assert refused.exit_code == 2
    assert "no terminal" in refused.output
    assert "#token=" not in refused.output


def test_open_shows_the_kept_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_ADMIN_TOKEN")
    link = said("open", "--print")
    kept = home / "var" / "admin-token"
    assert link.strip().endswith(f"#token={kept.read_text().strip()}")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_token_stands_in_no_command_line_of_a_browser(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    page = home / "open.html"
    for _ in range(2):
        assert open_command._open(page, "http://127.0.0.1:8000/_graft/#token=a&b")
    assert opened == [page.as_uri()] * 2
    assert page.stat().st_mode & 0o777 == 0o600
    assert 'url=http://127.0.0.1:8000/_graft/#token=a&amp;b"' in page.read_text()


def test_token_makes_an_entry_that_the_gateway_takes() -> None:
    made = json.loads(said("token", "ada", "--role", "operator", "--json"))
    assert made["token"] not in made["entry"]
    tokens = Tokens("admin", named_tokens(made["entry"]))
    found = tokens.find(made["token"])
    assert found is not None
    assert (found.name, found.role) == ("ada", Role.OPERATOR)
    text = said("token", "screen on the wall", "--role", "viewer")
    assert "shown this once: " in text
    assert "entry for GRAFT_ADMIN_TOKENS: screen on the wall:viewer:" in text


@pytest.mark.parametrize("name", ["a:b", "a,b", "", "\x1b[31m", "admin token\n"])
def test_names_that_no_entry_can_have_are_refused(name: str) -> None:
    result = graft("token", name, "--role", "viewer")
    assert result.exit_code == 2
    assert "is no name" in result.output
