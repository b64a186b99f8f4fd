"""What a fleet asks of its cluster stays small, and grows with its hosts alone."""

from __future__ import annotations

from pathlib import Path

from graft.fleet.publisher import ALL_SECONDS, CLIMBING_SECONDS
from graft.fleet.rests import SHORTEST_WAIT
from tests.fleet.simulation import simulate

SECONDS = 15.0


async def test_a_quiet_fleet_costs_a_wait_and_a_look_a_host_now_and_then_and_little_else(tmp_path: Path) -> None:
    seen = await simulate(tmp_path, 3, 30, seconds=SECONDS, climbing=0, changes=0)
    assert seen.asks <= 3 * 2 * (SECONDS / (0.8 * SHORTEST_WAIT) + 1)
    assert seen.requests - seen.asks <= 3 * (SECONDS / ALL_SECONDS + 1 + 2)
    assert seen.documents <= 3 * (SECONDS / ALL_SECONDS + 1)


async def test_a_climb_costs_each_host_a_document_now_and_then_and_one_host_reads_them(tmp_path: Path) -> None:
    seen = await simulate(tmp_path, 3, 30, seconds=SECONDS, climbing=5, changes=0)
    assert seen.documents <= 3 * (SECONDS / CLIMBING_SECONDS + SECONDS / ALL_SECONDS + 2)
    assert seen.requests - seen.asks <= 3 * (SECONDS / CLIMBING_SECONDS + SECONDS / ALL_SECONDS + 2 + 2)


async def test_a_change_of_another_route_makes_no_host_tell_what_climbs(tmp_path: Path) -> None:
    changes = SECONDS / 3
    seen = await simulate(tmp_path, 3, 30, seconds=SECONDS, climbing=5, changes=20)
    of_itself = 2 * changes  # the switches, and the history
    assert seen.documents <= of_itself + 3 * (SECONDS / CLIMBING_SECONDS + SECONDS / ALL_SECONDS + 2)
