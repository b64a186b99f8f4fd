from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from graft.control import api, promotions
from graft.control.auth import COOKIE
from graft.figures import folders
from graft.figures.reader import Reader
from graft.figures.route_figures import Latency, RouteFigures
from graft.mirroring.differences import DifferenceWriter, difference_store
from graft.operations.baselines import Rung
from graft.operations.edits import set_switch
from graft.operations.file_state import FileState
from graft.operations.promotion import Standing
from graft.operations.switch import Switch
from graft.operations.switches import load
from graft.search.client import open_client
from graft.settings import Settings
from graft.types import RouteKey, Side
from tests.control.app import BEARER, TOKEN, VIEWER, Traffic, bearer, cookie_value, gateway, native, table_of
from tests.control.demo import difference

JSON = {"content-type": "application/json"}
KEY = RouteKey("GET", "/items/{id:int}")


@pytest.fixture
def switches(tmp_path: Path) -> Path:
    return tmp_path / "switches.toml"


@pytest.fixture
def client(switches: Path) -> Iterator[TestClient]:
    table = table_of(
        [native("/items/{id:int}"), native("/new"), native("/items", "POST"), native("/api/search")],
        "/items/<int:number>", "POST /items", "/old", "/api/search",
    )  # fmt: skip
    with TestClient(gateway(table, switches), headers=BEARER) as made:
        yield made


def patch(client: TestClient, **sent: object) -> tuple[int, dict[str, Any]]:
    response = client.patch("/_graft/api/routes", content=json.dumps(sent), headers=JSON)
    return response.status_code, response.json()


def message(answer: dict[str, Any]) -> str:
    assert set(answer["error"]) == {"code", "message", "request_id"}
    return str(answer["error"]["message"])


def test_the_routes_are_told_with_the_coverage(client: TestClient) -> None:
    response = client.get("/_graft/api/routes")
    told = response.json()
    assert [row["route"] for row in told["routes"]] == [
        str(KEY),
        "GET /new",
        "POST /items",
        "GET /api/search",
        "GET /old",
    ]
    assert told["coverage"]["rules"] == 4
    assert told["problem"] is None
    assert response.headers["cache-control"] == "no-store"


def test_parity_is_told_of_the_rung_alone(client: TestClient, switches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic()
    traffic.mirrored(str(KEY), matched=90, different=10)

    async def now(_: Reader) -> dict[str, RouteFigures]:
        return traffic.read()

    monkeypatch.setattr(Reader, "now", now)
    monkeypatch.setattr(Reader, "evidence", now)

    def rungs() -> list[dict[str, Any]]:
        rows = {row["route"]: row for row in client.get("/_graft/api/routes").json()["routes"]}
        assert "rung" not in rows["GET /new"]
        return [
            rows[str(KEY)]["rung"],
            client.patch("/_graft/api/routes", json={"route": str(KEY), "mirror": 50}).json()["rung"],
        ]

    nothing = {"compared": 0, "different": 0, "parity": None, "failed": 0, "skipped": 0, "untold": 0}
    patch(client, route=str(KEY), mirror=50)
    assert rungs() == [nothing] * 2, "no rung was begun"
    baselines = FileState(switches, switches.parent).baselines
    baselines.begin(KEY, load(switches).for_route(KEY), traffic.read()[str(KEY)], folders.server_name())
    assert rungs() == [nothing] * 2
    traffic.mirrored(str(KEY), matched=3, different=1, skipped=2, shed=7)
    assert rungs() == [{**nothing, "compared": 4, "different": 1, "parity": 75, "skipped": 2}] * 2
    patch(client, route=str(KEY), share=10)
    assert client.get("/_graft/api/routes").json()["routes"][0]["rung"] == nothing, "another rung"


def test_what_a_step_waits_for_is_said_as_far_as_it_can_be(client: TestClient, switches: Path) -> None:
    def waits(share: float, seconds: float, climb: str | None = None, **figures: Any) -> str:
        switch = Switch(share=share, mirror=100, bake=(5.0,), climb=climb)
        return promotions.waits(Standing.of(KEY, switch, Rung(RouteFigures(**figures), seconds)))

    def counted(matched: int, different: int = 0, slow: float = 0.02) -> dict[str, Any]:
        times = {side: Latency.of([0.02] * 300) for side in Side} | {Side.NATIVE: Latency.of([slow] * 300)}
        return {"mirrored": {"matched": matched, "different": different}, "latency": times}

    before = "waits for compared, parity, not compared, p95: no telling how long before a request comes"
    assert waits(0, 60) == before
    assert re.fullmatch(r"waits for parity: about \d+ (s|min) at this traffic", waits(0, 60, **counted(500)))
    assert waits(0, 60, **counted(5000)) == "nothing is in the way of the next step"
    assert waits(0, 60, "ada", **counted(5000)) == "waits for the gateway's next look"
    assert waits(0, 60, **counted(5000, 5000)) == "closed by parity: it is not promoted until that is mended"
    assert waits(0, 60, **counted(5000, slow=0.0252)) == "waits for p95: by what came so far, p95 would not open"
    assert waits(100, 60) == "it is at the top of its ladder"
    nobody = {**counted(5000), "served": {Side.NATIVE: 0, Side.FALLBACK: 0, Side.LEGACY: 170}}
    assert waits(10, 60, **nobody) == "waits for native errors: no user has had a native answer on this step yet"


def test_a_change_is_in_the_file_and_in_the_answer(client: TestClient, switches: Path) -> None:
    status, row = patch(client, route=str(KEY), share=10, mirror=50.5)
    assert (status, row["route"], row["share"], row["mirror"]) == (200, str(KEY), 10, 50.5)
    assert (load(switches)[KEY].share, load(switches)[KEY].mirror) == (10, 50.5)
    assert '["GET /items/{id:int}"]\nshare = 10\nmirror = 50.5\n' in switches.read_text()
    told = client.get("/_graft/api/routes").json()["routes"]
    assert next(row for row in told if row["route"] == str(KEY))["share"] == 10


def test_a_route_may_be_named_as_the_flask_rule_is(client: TestClient, switches: Path) -> None:
    assert patch(client, route="GET /items/{number:int}", share=1)[0] == 200
    assert load(switches)[KEY].share == 1


def test_a_share_that_is_set_ends_a_trip_and_a_mirror_does_not(client: TestClient, switches: Path) -> None:
    set_switch(switches, KEY, share=0, tripped="7 of 10 failed")
    assert patch(client, route=str(KEY), mirror=10)[1]["tripped"] == "7 of 10 failed"
    assert patch(client, route=str(KEY), share=1)[1]["tripped"] is None
    assert load(switches)[KEY].tripped is None


def test_comments_and_other_settings_stay(client: TestClient, switches: Path) -> None:
    switches.write_text(f'# ours\n["{KEY}"]\nshare = 1 # careful\nignore = ["status"]\n')
    patch(client, route=str(KEY), share=50)
    assert switches.read_text() == f'# ours\n["{KEY}"]\nshare = 50 # careful\nignore = ["status"]\n'


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({}, 400, 'Name the "route"'),
        ({"route": 7, "share": 1}, 400, 'Name the "route"'),
        ({"route": "items", "share": 1}, 400, 'Name the "route"'),
        ({"route": str(KEY)}, 400, 'Send "share", "mirror" or both'),
        ({"route": str(KEY), "ignore": ["status"]}, 400, "There is no setting 'ignore' here"),
        ({"route": str(KEY), "share": -1}, 400, "share is '-1'; send a number from 0 to 100"),
        ({"route": str(KEY), "share": 100.5}, 400, "from 0 to 100"),
        ({"route": str(KEY), "share": 1.234}, 400, "two decimals"),
        ({"route": str(KEY), "share": "10"}, 400, "send a number"),
        ({"route": str(KEY), "mirror": True}, 400, "mirror is 'True'"),
        ({"route": str(KEY), "mirror": None}, 400, "mirror is 'None'"),
        ({"route": "GET /nowhere", "share": 1}, 404, 'There is no route "GET /nowhere".'),
        ({"route": "GET /itms/{id:int}", "share": 1}, 404, 'Did you mean "GET /items/{id:int}"?'),
        ({"route": "GET /\ud800", "share": 1}, 400, 'Name the "route"'),
        ({"route": "GET /\x1b[2J", "share": 1}, 400, 'Name the "route"'),
        ({"route": str(KEY), "hold": "why", "share": 1}, 400, "There is no setting 'hold' here"),
        ({"route": str(KEY), "hold": "  \n"}, 400, "hold is the reason"),
        ({"route": str(KEY), "hold": True}, 400, "hold is the reason"),
        ({"route": "GET /new", "hold": "why"}, 409, "only the native side has it"),
        ({"route": str(KEY), "\ud800": 1}, 400, "There is no setting"),
        ({"route": "GET /new", "share": 1}, 409, "only the native side has it"),
        ({"route": "GET /old", "share": 1}, 409, "only the Flask app has it"),
    ],
)
def test_a_wrong_change_is_refused_with_the_reason(
    client: TestClient, switches: Path, sent: dict[str, Any], status: int, said: str
) -> None:
    answered, answer = patch(client, **sent)
    assert answered == status
    assert said in message(answer)
    assert not switches.exists()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none_are_refused(client: TestClient, number: str) -> None:
    body = f'{{"route": "{KEY}", "share": {number}}}'
    response = client.patch("/_graft/api/routes", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe{", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"", "application/json; charset=utf-8", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b'{"route": "' + b"x" * 20_000 + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_is_no_small_json_object_is_refused(
    client: TestClient, body: bytes, kind: str, status: int
) -> None:
    response = client.patch("/_graft/api/routes", content=body, headers={"content-type": kind})
    assert response.status_code == status
    assert message(response.json())


def test_a_broken_file_is_told_and_not_overwritten(client: TestClient, switches: Path) -> None:
    switches.write_text(f'["{KEY}"]\nshare = lots\n')
    told = client.get("/_graft/api/routes").json()
    assert "switches.toml, line 2" in told["problem"]
    status, answer = patch(client, route=str(KEY), share=10)
    assert status == 409
    assert "line 2" in message(answer)
    assert "lots" in switches.read_text()


def test_all_is_rolled_back_in_one_change(client: TestClient, switches: Path) -> None:
    switches.write_text(f'["{KEY}"]\nshare = 50\nmirror = 5\n["POST /items"]\nshare = 100\n["GET /gone"]\nshare = 3\n')
    assert client.post("/_graft/api/rollback", json={}).json() == {"routes": [str(KEY), "POST /items", "GET /gone"]}
    now = load(switches)
    assert (now[KEY].share, now[KEY].mirror, now[RouteKey("POST", "/items")].share) == (0, 5, 0)
    assert now[RouteKey("GET", "/gone")].share == 0  # a release that is not out on this host may have the route
    assert client.post("/_graft/api/rollback", json={}).json() == {"routes": []}
    assert client.post("/_graft/api/rollback", json={"route": str(KEY)}).status_code == 400


def test_a_hold_stops_the_route_until_it_is_released(client: TestClient, switches: Path) -> None:
    patch(client, route=str(KEY), share=50)
    status, row = patch(client, route=str(KEY), hold="wrong\ntotals")
    assert (status, row["share"], row["hold"], row["held_by"]) == (200, 0, "wrong totals", "admin token")
    status, answer = patch(client, route=str(KEY), share=1)
    assert status == 409
    assert message(answer) == (
        f'{KEY} is held by admin token: "wrong totals". To let it move again: graft release "{KEY}"'
    )
    assert patch(client, route=str(KEY), share=0, mirror=20)[1]["mirror"] == 20
    status, row = patch(client, route=str(KEY), hold=None)
    assert (status, row["hold"], row["held_at"]) == (200, None, None)
    assert patch(client, route=str(KEY), share=1)[1]["share"] == 1


def test_all_is_held_in_one_change(client: TestClient, switches: Path) -> None:
    switches.write_text(f'["{KEY}"]\nshare = 50\n["POST /items"]\nmirror = 0\n')
    answer = client.post("/_graft/api/rollback", json={"hold": "the database is read-only"})
    assert answer.json() == {"routes": [str(KEY), "POST /items"]}
    assert {(switch.share, switch.hold) for switch in load(switches).values()} == {(0, "the database is read-only")}
    assert client.post("/_graft/api/rollback", json={"hold": 7}).status_code == 400


def test_a_climb_is_a_change_like_others(client: TestClient, switches: Path) -> None:
    url = "/_graft/api/promotion"
    start = {"route": str(KEY), "action": "start", "by": "alice", "why": "ready"}
    viewer = client.post(url, json=start, headers=bearer(VIEWER[0]))
    assert viewer.status_code == 403
    forged = client.post(url, json=start, headers={"authorization": "", "cookie": f"{COOKIE}={cookie_value(TOKEN)}"})
    assert forged.status_code in (401, 403)
    assert not switches.exists()
    assert client.post(url, json=start).json()["climb"]["by"] == "alice (admin token)"
    assert client.post(url, json=start).json()["did"] == "climbs already"
    assert client.get(url, params={"route": str(KEY)}, headers=bearer(VIEWER[0])).json()["climb"] is not None
    told = client.get("/_graft/api/routes").json()["routes"]
    assert next(row for row in told if row["route"] == str(KEY))["climb"] == "alice (admin token)"
    stopped = client.post(url, json={"route": str(KEY), "action": "stop"}).json()
    assert (stopped["did"], stopped["ended"]["operation"], stopped["ended"]["by"]) == ("stopped", "stop", "admin token")
    patch(client, route=str(KEY), hold="slow")
    assert client.post(url, json=start).status_code == 423
    assert client.post(url, json={**start, "action": "step"}).status_code == 423
    for wrong in (
        {"action": "start"},
        {"route": str(KEY), "action": "jump"},
        {**start, "by": 7},
        {**start, "share": 5},
    ):
        assert client.post(url, json=wrong).status_code == 400
    assert client.get(url).status_code == 400
    assert client.get(url, params={"route": "GET /new"}).status_code == 409


def test_where_a_route_stands_is_told_without_a_history(client: TestClient, switches: Path) -> None:
    (switches.parent / "history.jsonl").mkdir()
    answer = client.get("/_graft/api/promotion", params={"route": str(KEY)})
    assert (answer.status_code, answer.json()["ended"]) == (200, None)


def test_the_history_says_who_changed_what(client: TestClient, switches: Path) -> None:
    patch(client, route=str(KEY), share=10)
    patch(client, route="POST /items", mirror=5)
    patch(client, route=str(KEY), hold="slow")
    events = client.get("/_graft/api/history").json()["history"]
    assert [(event["route"], event["operation"]) for event in events] == [
        (str(KEY), "rollback"),
        ("POST /items", "mirror"),
        (str(KEY), "shift"),
    ]
    first = events[0]
    assert set(first) == {"id", "text", "at", "route", "operation", "from", "to", "by", "why", "host", "pid"}
    assert (first["by"], first["why"], first["from"]["share"], first["to"]["share"]) == ("admin token", "slow", 10, 0)
    of_route = client.get("/_graft/api/history", params={"route": str(KEY), "last": 1}).json()["history"]
    assert of_route == [first]
    assert client.get("/_graft/api/history", params={"route": "GET /gone"}).json() == {"history": []}


@pytest.mark.parametrize("params", [{"route": "nonsense"}, {"last": "0"}, {"last": "-1"}, {"last": "9" * 5000}])
def test_a_wrong_question_for_the_history_is_refused(client: TestClient, params: dict[str, str]) -> None:
    assert client.get("/_graft/api/history", params=params).status_code == 400


def test_a_history_that_can_not_be_read_is_a_clean_503(client: TestClient, switches: Path) -> None:
    (switches.parent / "history.jsonl").mkdir()
    response = client.get("/_graft/api/history")
    assert response.status_code == 503
    assert "history.jsonl can't be read" in message(response.json())


def test_a_change_whose_history_can_not_be_written_is_made_all_the_same(
    client: TestClient, switches: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (switches.parent / "history.jsonl").mkdir()
    assert patch(client, route=str(KEY), share=0)[0] == 200
    assert patch(client, route=str(KEY), share=10)[0] == 200
    assert load(switches)[KEY].share == 10
    assert "that is not in the history" in caplog.text


def test_methods_that_are_not_there_are_refused_in_the_error_shape(client: TestClient) -> None:
    for method, path, status in (("DELETE", "api/routes", 405), ("GET", "api/nothing", 404), ("GET", "api", 404)):
        response = client.request(method, f"/_graft/{path}")
        assert response.status_code == status
        assert message(response.json())


def test_the_figures_of_one_route_are_told_with_their_histograms(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic()
    traffic.served(str(KEY), "native", 3, seconds=0.2)
    traffic.served("GET /items/{number:int}", "legacy", 4)
    traffic.mirrored(str(KEY), matched=2, different=1)
    monkeypatch.setattr(api, "Reader", lambda: Reader(lambda *_: (traffic.read(), traffic.read())))
    table = table_of([native("/items/{id:int}"), native("/idle")], "/items/<int:number>")
    with TestClient(gateway(table, Path("switches.toml")), headers=BEARER) as other:
        told = other.get("/_graft/api/figures", params={"route": str(KEY)}).json()
        idle = other.get("/_graft/api/figures", params={"route": "GET /idle"}).json()
    figures = RouteFigures.of_data(told)
    assert figures.served == {Side.NATIVE: 3, Side.LEGACY: 4, Side.FALLBACK: 0}
    assert figures.latency[Side.NATIVE].count == 3
    assert (figures.matched, figures.different) == (2, 1)
    assert RouteFigures.of_data(idle) == RouteFigures()


def test_figures_are_told_of_one_route_and_only_with_the_token(client: TestClient) -> None:
    assert client.get("/_graft/api/figures").status_code == 400
    assert client.get("/_graft/api/figures", params={"route": "GET /nowhere"}).status_code == 404
    response = client.get("/_graft/api/figures", params={"route": str(KEY)}, headers={"authorization": ""})
    assert response.status_code == 401


async def stored(folder: Path) -> None:
    settings = Settings.load(data=folder)
    async with open_client(settings) as search:
        store = DifferenceWriter(difference_store(settings, search))
        for number in range(api.EXAMPLES + 4):
            await store.keep(difference(number))
        await store.learned(RouteKey("GET", "/api/search"), frozenset({"body.took"}))
        await store.flush()


async def test_differences_are_told_in_groups_with_the_newest_examples(client: TestClient, tmp_path: Path) -> None:
    await stored(tmp_path)
    told = client.get("/_graft/api/differences", params={"route": "GET /api/search"}).json()
    first = told["differences"][0]
    assert first["route"] == "GET /api/search"
    assert "body.items[*].price" in first["what"]
    assert first["count"] == 6
    assert len(first["newest"]) == api.EXAMPLES
    assert {"request", "native", "legacy", "differences"} <= set(first["newest"][0])
    assert told["noise"] == {"GET /api/search": ["body.took"]}
    assert client.get("/_graft/api/differences").json() == told
    assert client.get("/_graft/api/differences", params={"route": str(KEY)}).json() == {
        "differences": [],
        "noise": {},
        "untold": {},
    }


async def test_an_operator_clears_the_differences_of_one_route_or_of_all(client: TestClient, tmp_path: Path) -> None:
    await stored(tmp_path)
    path = "/_graft/api/differences"
    assert client.delete(path, params={"route": "GET /nowhere"}).json() == {"cleared": 0}
    assert client.delete(path, params={"route": "nonsense"}).status_code == 400
    assert client.delete(path, headers=bearer(VIEWER[0])).status_code == 403
    kept = client.get(path).json()["differences"]
    assert client.delete(path).json() == {"cleared": sum(group["count"] for group in kept)}
    assert client.get(path).json() == {"differences": [], "noise": {}, "untold": {}}


def test_differences_of_no_route_are_refused(client: TestClient) -> None:
    assert client.get("/_graft/api/differences", params={"route": "GET /nowhere"}).status_code == 404
    assert client.get("/_graft/api/differences", params={"route": "nonsense"}).status_code == 400


def test_differences_without_elasticsearch_are_a_clean_503(switches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:1")
    with TestClient(gateway(table_of([native("/a")], "/a"), switches), headers=BEARER) as client:
        response = client.get("/_graft/api/differences")
        assert response.status_code == 503
        assert "http://127.0.0.1:1 can't be reached" in message(response.json())
        assert client.get("/_graft/api/routes").status_code == 200


def test_many_changes_at_once_are_all_kept(client: TestClient, switches: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: patch(client, route=str(KEY) if n % 2 else "POST /items", share=n), range(24)))
    assert len(load(switches)) == 2


def test_a_rollback_sets_a_broken_file_aside_and_says_where_it_is(client: TestClient, switches: Path) -> None:
    patch(client, route=str(KEY), share=100)
    for number, roll_back in enumerate(
        (
            lambda: client.post("/_graft/api/rollback", content="{}", headers=JSON).json(),
            lambda: patch(client, route=str(KEY), share=0)[1],
            lambda: patch(client, route=str(KEY), hold="wrong totals")[1],
        ),
        start=1,
    ):
        switches.write_text(switches.read_text() + "nonsense = [[[\n")
        assert patch(client, route=str(KEY), share=50)[0] == 409
        told = roll_back()
        kept = sorted(switches.parent.glob("switches.toml.broken-*"))
        assert len(kept) == number
        assert f"it was set aside as {kept[-1]}, and the last good one is in its place." in told["set_aside"]
        assert load(switches)[KEY].share == 0
        assert client.get("/_graft/api/routes").json()["problem"] is None
