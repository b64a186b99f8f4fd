"""The search server goes away and comes back under a running gateway."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2 as httpx

from tests.parts import wait_until
from tests.parts.elasticsearch import Elasticsearch
from tests.parts.gateway import PROJECT, serving


def test_a_server_that_is_down_is_a_503_in_time_and_all_recovers_by_itself(
    real_elasticsearch: Elasticsearch, tmp_path: Path
) -> None:
    env = {"ELASTICSEARCH_URL": real_elasticsearch.url, "PORTAL_DATA": str(tmp_path / "portal")}
    log = tmp_path / "log"
    with (
        serving("gunicorn", folder=PROJECT, log=log, env=env, ready="/_graft/health") as gateway,
        httpx.Client(base_url=gateway.base_url, timeout=10) as client,
    ):
        wait_until(lambda: client.get("/_graft/ready").status_code == 200, 20, "the search to be ready")
        real_elasticsearch.stop()
        try:
            started = time.monotonic()
            search = client.get("/api/search?q=loop")
            assert time.monotonic() - started < 5
            assert search.status_code == 503
            assert search.json()["error"]["code"] == "search_unavailable"
            assert search.json()["error"]["request_id"] == search.headers["x-request-id"]
            assert client.get("/about").status_code == 200, "legacy pages are untouched"
            ready = wait_until(
                lambda: (told := client.get("/_graft/ready")).status_code == 503 and told.json(), 10, "not ready"
            )
            assert ready["parts"]["legacy"] == "ok"
            assert "can't be reached" in ready["parts"]["search"]
        finally:
            real_elasticsearch.start()
        wait_until(lambda: client.get("/_graft/ready").status_code == 200, 20, "the search to be back")
        assert client.get("/api/search?q=loop").json().get("error", {}).get("code") != "search_unavailable"
