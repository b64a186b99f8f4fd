from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import pytest

from graft.figures import reader as reader_module
from graft.figures.reader import Figures, Reader
from graft.figures.route_figures import RouteFigures


class Reads:
    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls = 0

    def __call__(self, own: Figures, builds: Mapping[str, str]) -> tuple[Figures, Figures]:
        self.calls += 1
        time.sleep(self.seconds)
        return {f"GET /{self.calls}": RouteFigures()}, {}


async def test_cheap_figures_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "CHEAP_SECONDS", 60.0)  # of a machine that is busy
    reader = Reads()
    recent = Reader(reader)
    assert [list(await recent.now()) for _ in range(3)] == [["GET /1"], ["GET /2"], ["GET /3"]]


async def test_dear_figures_are_read_once_for_all_who_ask() -> None:
    reader = Reads(reader_module.CHEAP_SECONDS * 2)
    recent = Reader(reader)
    told = await asyncio.gather(*(recent.now() for _ in range(20)))
    assert reader.calls == 1
    assert all(list(one) == ["GET /1"] for one in told)


async def test_dear_figures_are_read_again_after_their_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "REST", 0)
    reader = Reads(reader_module.CHEAP_SECONDS * 2)
    recent = Reader(reader)
    await recent.now()
    await recent.now()
    assert reader.calls == 2


async def test_where_figures_can_t_be_read_the_last_ones_stay(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reader_module, "CHEAP_SECONDS", 60.0)
    recent = Reader(Reads())
    await recent.now()

    def unreadable(*_: object) -> tuple[Figures, Figures]:
        raise OSError("Input/output error")

    monkeypatch.setattr(recent, "_read", unreadable)
    with caplog.at_level(logging.WARNING):
        assert list(await recent.now()) == ["GET /1"]
    assert "the workers' figures can't be read" in caplog.text
