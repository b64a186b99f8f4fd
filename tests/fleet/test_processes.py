"""Gateways of several hosts as processes, on one cluster: they follow, they go on without it, and nobody waits."""

from __future__ import annotations

import http.client
from contextlib import ExitStack
from pathlib import Path

import pytest

from graft.fleet.fleet_state import FleetState
from graft.fleet.indices import FAILURES
from graft.operations.rollback import rollback
from graft.operations.shift import shift
from graft.types import RouteKey
from tests.fleet.gateways import KEY, PATIENCE, Visitors, answers, host, served
from tests.fleet.hosts import Fleet, operations
from tests.fleet.link import link
from tests.parts import wait_until
from tests.parts.elasticsearch import Elasticsearch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


def test_hosts_follow_one_decision_and_go_on_without_the_cluster(
    fleet: Fleet, real_elasticsearch: Elasticsearch
) -> None:
    people = fleet.host("people")

    def everywhere(side: str, *addresses: str) -> None:
        for address in addresses:
            wait_until(lambda: served(address) == {side}, PATIENCE, f"{address} to be {side}")  # noqa: B023

    with ExitStack() as stack:
        way = stack.enter_context(link(real_elasticsearch.port))
        one = stack.enter_context(host(fleet, "one", fleet.url))
        three = stack.enter_context(host(fleet, "three", way.url))
        visitors = stack.enter_context(Visitors())
        visitors.addresses |= {one, three}
        with host(fleet, "two", fleet.url, workers=1) as two:
            everywhere("legacy", one, two, three)
            shift(people, KEY, 100, by="alice")
            everywhere("native", one, two, three)

            way.cut()
            shift(people, KEY, 0, by="alice")
            everywhere("legacy", one, two)
            assert served(three) == {"native"}  # by what it knows
            apart = fleet.of_this_host("three", way.url)
            rollback(apart, KEY, by="bob", why="wrong totals")
            everywhere("legacy", three)
            assert apart.waits
            shift(people, KEY, 100, by="alice")  # later than bob for the fleet, which has not heard of him
            everywhere("native", one, two)
            assert served(three) == {"legacy"}
            way.mend()
            everywhere("native", three)
            wait_until(lambda: ("gave way", "bob") in operations(people), PATIENCE, "the history to have bob's too")

        real_elasticsearch.stop()
        try:
            assert served(one) == served(three) == {"native"}
            with host(fleet, "two", fleet.url, workers=1) as two:  # it starts again, and knows what it knew
                assert served(two) == {"native"}
        finally:
            real_elasticsearch.start()
        shift(people, KEY, 0, by="alice")
        with host(fleet, "two", fleet.url, workers=1) as two:
            everywhere("legacy", one, two, three)
        visitors.addresses.clear()
        assert visitors.failures == []


def test_a_host_that_was_away_comes_back_with_the_newest_state(fleet: Fleet, tmp_path: Path) -> None:
    people = fleet.host("people")
    with host(fleet, "one", fleet.url, workers=1) as one:
        shift(people, KEY, 100, by="alice")
        wait_until(lambda: served(one) == {"native"}, PATIENCE, "it to follow")
        wait_until(lambda: answers(people) > 0, PATIENCE, "it to tell what it counts")
    for number in range(20):  # the revision that it knows is long gone
        shift(people, RouteKey("GET", f"/{number}"), 1, by="alice")
    shift(people, KEY, 0, by="alice")
    with host(fleet, "one", fleet.url, workers=1) as one:
        wait_until(lambda: served(one) == {"legacy"}, PATIENCE, "it to follow")


def write(address: str, fails: bool) -> int:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", "/write", headers={"x-fail": "1"} if fails else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def told(people: FleetState) -> int:
    """How many failures the fleet has heard of."""
    client = people.cluster.client()
    client.indices.refresh(index=FAILURES, ignore_unavailable=True)
    found = client.search(index=FAILURES, query={"term": {"fleet": people.cluster.name}}, ignore_unavailable=True)
    hosts = [host for hit in found["hits"]["hits"] for host in hit["_source"]["hosts"].values()]
    return sum(failures for host in hosts for _, _, failures in host["cells"])


def test_hosts_of_which_none_alone_fails_too_often_trip_together(
    fleet: Fleet,
) -> None:
    people, key = fleet.host("people"), RouteKey("POST", "/write")
    shift(people, key, 100, by="alice")
    with ExitStack() as stack:
        hosts = [stack.enter_context(host(fleet, name, fleet.url)) for name in ("one", "two")]
        failed = 0
        while not people.read()[key].tripped and failed < 8:  # four on each trip none of them
            assert write(hosts[failed % len(hosts)], fails=True) == 500
            failed += 1
            wait_until(lambda: told(people) >= failed or people.read()[key].tripped, PATIENCE, "it to be told")  # noqa: B023
        for address in hosts:
            wait_until(lambda: write(address, fails=True) == 200, PATIENCE, "it to be legacy")  # noqa: B023
        assert failed == 5
        [event] = [each for each in people.history() if each.operation == "trip"]
        assert " hosts: " in str(event.why)
