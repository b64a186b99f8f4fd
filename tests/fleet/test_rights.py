"""What deploy/elasticsearch ships: templates that a cluster takes, and a role that is enough and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import ApiError, Elasticsearch

from graft.fleet import cluster
from graft.fleet.fleet_state import FleetState
from graft.operations.shift import shift
from graft.settings import Settings
from tests.deploy.running import DEPLOY
from tests.fleet.hosts import A, gateway, share
from tests.parts import elasticsearch as parts
from tests.parts.elasticsearch import Elasticsearch as Server

SHIPPED = DEPLOY / "elasticsearch"
SECURED = {
    "xpack.security.enabled": "true",
    "xpack.security.http.ssl.enabled": "false",
    "xpack.security.transport.ssl.enabled": "false",
    "xpack.security.enrollment.enabled": "false",
}
PASSWORD = "for-tests-alone"


def shipped(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((SHIPPED / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", cluster.MAPPINGS)
def test_a_template_has_the_mappings_that_a_gateway_makes(name: str) -> None:
    template = shipped(f"index-template.{name}")["template"]
    assert isinstance(template, dict)
    assert template["mappings"] == cluster.MAPPINGS[name]
    assert cluster.SETTINGS.items() <= template["settings"].items()


@pytest.mark.parametrize("name", cluster.MAPPINGS)
def test_the_cluster_takes_each_template(real_elasticsearch: Server, name: str) -> None:
    body = shipped(f"index-template.{name}")
    template = body["template"]
    assert isinstance(template, dict)
    template["settings"].pop("index.lifecycle.name", None)  # the tests' distribution has no lifecycles
    with Elasticsearch(real_elasticsearch.url) as client:
        client.perform_request(
            "PUT",
            f"/_index_template/{name}",
            body=body,
            headers={"content-type": "application/json", "accept": "application/json"},
        )
        client.perform_request("DELETE", f"/_index_template/{name}")


def test_every_fleet_index_is_in_the_role_and_no_other_right() -> None:
    [indices] = shipped("role")["indices"]  # type: ignore[misc]
    assert indices["names"] == ["graft-fleet-*", "graft-differences"]
    assert set(indices["privileges"]) == {"read", "write", "create_index", "view_index_metadata"}
    assert all(name.startswith("graft-fleet-") for name in cluster.MAPPINGS)


@pytest.fixture(scope="module")
def secured() -> Iterator[Server]:
    """A server that asks for a password; its user has the shipped role, and there is nobody else."""
    files = {
        "roles.yml": f"graft: {json.dumps(shipped('role'))}\n",
        "users": f"graft:{PASSWORD}\n",
        "users_roles": "graft:graft\n",
    }
    with parts.running(SECURED, files, f"graft:{PASSWORD}") as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_role_is_enough_for_a_fleet_and_opens_nothing_else(secured: Server, tmp_path: Path) -> None:
    settings = Settings.load(
        fleet="shop",
        elasticsearch_url=(secured.url,),
        elasticsearch_username="graft",
        elasticsearch_password=PASSWORD,
        data=tmp_path / "var",
        switches=tmp_path / "switches.toml",
    )
    state = FleetState.of("shop", settings)
    lease = state.lease("promotion")
    gateway(state)
    assert state.keeper.problem is None
    shift(state, A, 10, by="alice")
    assert share(state) == 10
    assert [event.by for event in state.cluster.newest(None, 10)] == ["alice"]
    assert lease.take()
    assert state.cluster.write_server(
        {"server": "one", "host": "web-1", "beat": "1", "at": "2025-01-31T12:00:00+00:00"}
    )
    state.cluster.forget_servers()

    with Elasticsearch(secured.url, basic_auth=("graft", PASSWORD)) as client:
        for forbidden in (
            lambda: client.index(index="orders", document={"a": 1}),
            lambda: client.search(index="orders"),
            lambda: client.indices.delete(index=cluster.SWITCHES),
            lambda: client.indices.put_settings(index=cluster.SWITCHES, settings={"number_of_replicas": 0}),
            lambda: client.indices.put_index_template(name="all", index_patterns=["*"]),
        ):
            with pytest.raises(ApiError) as refused:
                forbidden()
            assert refused.value.status_code == 403


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wrong_credentials_are_named_and_nobody_is_served_otherwise(secured: Server, tmp_path: Path) -> None:
    settings = Settings.load(
        fleet="shop",
        elasticsearch_url=(secured.url,),
        elasticsearch_username="graft",
        elasticsearch_password="wrong",
        data=tmp_path / "var",
        switches=tmp_path / "switches.toml",
    )
    state = gateway(FleetState.of("shop", settings))
    assert "refuses the credentials" in (state.keeper.problem or "")
    assert "wrong" not in (state.keeper.problem or "")
