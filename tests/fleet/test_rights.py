"""What deploy/elasticsearch ships: templates that a cluster takes, and a role that is enough and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import ApiError, Elasticsearch

from graft.fleet import indices as fleet_indices
from graft.fleet.fleet_state import FleetState
from graft.fleet.indices import past
from graft.fleet.waiting import Waiting
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


@pytest.mark.parametrize("name", fleet_indices.MAPPINGS)
def test_a_template_has_the_mappings_that_a_gateway_makes(name: str) -> None:
    template = shipped(f"index-template.{name}")["template"]
    assert isinstance(template, dict)
    assert template["mappings"] == fleet_indices.MAPPINGS[name]
    assert fleet_indices.SETTINGS.items() <= template["settings"].items()


@pytest.mark.parametrize("name", fleet_indices.MAPPINGS)
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
        index = f"{name}-2026.11" if name == fleet_indices.HISTORY else name
        found = client.indices.simulate_index_template(name=index).body["template"]
        client.perform_request("DELETE", f"/_index_template/{name}")
    settings = found["settings"]["index"]
    assert (settings["number_of_shards"], settings["auto_expand_replicas"]) == ("1", "0-2")
    assert found["mappings"]["properties"] == fleet_indices.MAPPINGS[name]["properties"]
    assert found["mappings"]["dynamic"] == "false"


def test_history_is_deleted_by_a_policy_of_that_name_after_a_year_at_least() -> None:
    template = shipped(f"index-template.{fleet_indices.HISTORY}")["template"]
    assert isinstance(template, dict)
    name = template["settings"]["index.lifecycle.name"]
    phases = shipped(f"lifecycle.{name}")["policy"]["phases"]  # type: ignore[index]
    assert phases.keys() == {"hot", "delete"}
    assert phases["delete"]["actions"] == {"delete": {}}
    assert int(phases["delete"]["min_age"].removesuffix("d")) >= 365


def test_every_fleet_index_is_in_the_role_and_no_other_right() -> None:
    [indices] = shipped("role")["indices"]  # type: ignore[misc]
    assert indices["names"] == ["graft-fleet-*", "graft-differences"]
    assert set(indices["privileges"]) == {
        "read",
        "write",
        "create_index",
        "view_index_metadata",
        "indices:admin/aliases",
    }
    assert all(name.startswith("graft-fleet-") for name in fleet_indices.MAPPINGS)


def _earlier() -> dict[str, object]:
    """The role without the right to wake others, as it was shipped once."""
    role = shipped("role")
    role["indices"][0]["privileges"].remove("indices:admin/aliases")  # type: ignore[index]
    return role


@pytest.fixture(scope="module")
def secured() -> Iterator[Server]:
    """A server that asks for a password; its users have the shipped role, and that of before."""
    files = {
        "roles.yml": f"graft: {json.dumps(shipped('role'))}\nearlier: {json.dumps(_earlier())}\n",
        "users": f"graft:{PASSWORD}\nearlier:{PASSWORD}\n",
        "users_roles": "graft:graft\nearlier:earlier\n",
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
    assert state.cluster.may_wake()
    snapshot = state.cluster.read()
    assert snapshot is not None
    assert snapshot.wakes
    waiting = Waiting(state.cluster)
    waits = waiting.until(past("shop", snapshot.id, snapshot.revision), 600.0)

    async def woken() -> bool:
        try:
            task = asyncio.create_task(waits)
            await asyncio.to_thread(shift, state, A, 11, by="alice")
            return await task
        finally:
            await waiting.close()

    assert asyncio.run(woken())
    assert state.cluster.write_server(
        {"server": "one", "host": "web-1", "beat": "1", "at": "2025-01-31T12:00:00+00:00"}
    )
    assert state.cluster.tell_failures(A, 1, "one", {"host": "web-1"}) == {"one": {"host": "web-1"}}
    state.cluster.forget_servers()

    with Elasticsearch(secured.url, basic_auth=("graft", PASSWORD)) as client:
        for forbidden in (
            lambda: client.index(index="orders", document={"a": 1}),
            lambda: client.search(index="orders"),
            lambda: client.indices.delete(index=fleet_indices.SWITCHES),
            lambda: client.indices.put_settings(index=fleet_indices.SWITCHES, settings={"number_of_replicas": 0}),
            lambda: client.indices.put_alias(index=fleet_indices.SWITCHES, name="orders"),
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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_with_the_earlier_role_a_fleet_works_and_its_hosts_ask_again_and_again(secured: Server, tmp_path: Path) -> None:
    def host(name: str) -> FleetState:
        settings = Settings.load(
            fleet="blog",
            elasticsearch_url=(secured.url,),
            elasticsearch_username="earlier",
            elasticsearch_password=PASSWORD,
            data=tmp_path / name,
            switches=tmp_path / "switches.toml",
        )
        return gateway(FleetState.of("blog", settings))

    one, two = host("one"), host("two")
    for share_ in (10, 20):  # the first one finds out that it may not
        shift(one, A, share_, by="alice")
        rest = two.keeper.look()
        assert share(two) == share_
        assert rest.alias is None
    snapshot = one.cluster.read()
    assert snapshot is not None
    assert not snapshot.wakes
