"""A legacy async view that blocks the loop is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2 as httpx

from tests.async_clients.stories import Story, graft

TOKEN = "a token of this test, long enough"


def test_a_view_that_blocks_the_loop_is_named_in_the_log_and_in_the_metrics(tmp_path: Path) -> None:
    log = tmp_path / "log"
    key = {"Authorization": f"Bearer {TOKEN}"}
    serving = graft(Story("blocking", "", ""), log, {"GRAFT_ADMIN_TOKEN": TOKEN, "GRAFT_LEGACY_LOOP": "server"})
    with serving as gateway, httpx.Client(base_url=gateway.base_url, headers=key) as client:
        assert client.get("/slow").json() == {"slow": True}
        assert client.get("/quick").json() == {"slow": False}
        metrics = client.get("/_graft/metrics").text
    told = re.findall(r"the async view (\S+) held the loop for (\d+) ms", log.read_text())
    assert [name for name, _ in told] == ["tests.async_clients.apps.blocking.slow"]
    assert int(told[0][1]) >= 150
    series = r'graft_async_view_held_seconds_(\w+)\{view="tests\.async_clients\.apps\.blocking\.(\w+)"\} (\S+)'
    found = {(kind, view): float(value) for kind, view, value in re.findall(series, metrics)}
    assert found["count", "slow"] == 1
    assert found["sum", "slow"] >= 0.15
    assert ("count", "quick") not in found
