"""Five hosts on a cluster of three nodes while things go wrong; ``python -m tests.fleet.proof`` does more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.fleet import connection
from tests.fleet.proof import prove, steps, world
from tests.parts.elasticsearch import cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]


def test_no_request_is_lost_and_all_hosts_converge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 30.0)  # a test machine may be busy
    with cluster() as nodes, world(nodes, tmp_path) as made:
        prove(made, steps(2, 30), print)
