"""Hosts of a fleet inside this process: each with a data folder of its own, all on one real Elasticsearch."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.fleet.fleet_state import FleetState
from graft.fleet.of_this_host import OfThisHost
from graft.settings import Settings
from graft.types import RouteKey

A = RouteKey("GET", "/a/{id:int}")
B = RouteKey("POST", "/b")

_numbers = itertools.count(1)


class Clock:
    """A monotonic one that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Fleet:
    """A fleet of a name of its own on the cluster at ``url``; ``host`` makes one more host of it."""

    url: str
    folder: Path
    name: str = field(default_factory=lambda: f"shop-{os.getpid()}-{next(_numbers)}")
    seed: str = ""

    def settings(self, name: str, url: str | None = None) -> Settings:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        file = folder / "switches.toml"
        if self.seed and not file.exists():
            file.write_text(self.seed)
        return Settings.load(
            fleet=self.name,
            elasticsearch_url=tuple((url or self.url).split(",")),
            data=folder / "var",
            switches=folder / "switches.toml",
        )

    def host(self, name: str, url: str | None = None) -> FleetState:
        return FleetState.of(self.name, self.settings(name, url))

    def of_this_host(self, name: str, url: str | None = None) -> OfThisHost:
        return OfThisHost.of(self.name, self.settings(name, url))


def gateway(state: FleetState) -> FleetState:
    """``state`` as a running gateway has it: it follows, and has looked once."""
    state.follow()
    state.keeper.look()
    return state


def share(state: FleetState, key: RouteKey = A) -> float:
    """What this host goes by."""
    return state.on_this_host().for_route(key).share


def operations(state: Any) -> list[tuple[str, str]]:
    return [(event.operation, event.by) for event in reversed(state.history())]
