"""Planted bugs are reported, and an unchanged twin is not: a sample of what ``python -m tests.planted.stream`` runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from graft.mirroring.bodies import tree_of_html
from graft.mirroring.redact import GONE, Redactor
from graft.mirroring.redact_markup import redact_markup
from tests.planted.mutants import CONDITIONS, mutants
from tests.planted.record import PACKAGES
from tests.planted.recorded import RECORDED, RECORDINGS, recordings
from tests.planted.shapes import START, Reply, Request, Side
from tests.planted.sites import SHAPES
from tests.planted.stream import run, table

KINDS = {
    *("value", "type", "null", "missing", "extra", "order", "off by one", "encoding", "precision", "time zone"),
    *("page size", "header", "cookie", "status"),
}


def test_there_are_four_hundred_bugs_of_every_kind_on_every_shape_under_every_condition() -> None:
    planted = mutants(seed=1, count=440)
    assert len(planted) >= 400
    assert {mutant.kind for mutant in planted} >= KINDS
    assert {mutant.shape for mutant in planted} == set(SHAPES)
    assert {mutant.condition for mutant in planted} == set(CONDITIONS)


def test_the_recorded_answers_are_of_six_applications_and_small() -> None:
    assert len(recordings()) >= 6
    assert sum(path.stat().st_size for path in RECORDINGS.iterdir()) < 500_000
    for app, recorded in recordings().items():
        assert {"app", "licence", "home", "shapes"} == recorded.keys(), app
        assert recorded["app"] == PACKAGES[app][0]


def test_a_recorded_answer_is_drawn_anew_where_the_app_does_so_and_nowhere_else() -> None:
    shape, side = RECORDED["Django admin delete (HTML)"], Side("a")
    first, later = shape(Request(1, 2, 0, START), side), shape(Request(2, 2, 0, START + 100), side)
    token = re.compile(r'(?<=name="csrfmiddlewaretoken" value=")\w{64}(?=")')
    assert first.headers["expires"] == "Mon, 21 Sep 2026 14:13:19 GMT"
    assert later.headers["expires"] == "Mon, 21 Sep 2026 14:14:59 GMT"
    assert set(token.findall(first.body)).isdisjoint(token.findall(later.body))
    assert token.sub("", first.body) == token.sub("", later.body)


def test_a_sample_of_planted_bugs_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    always = [mutant for mutant in mutants(seed=1, count=440) if mutant.condition in ("always", "some users")]
    shown, wrong = table(always[::5], most=400, twin=0, shapes=[])
    with capsys.disabled():
        print(f"\n{shown}")
    assert wrong == []


@pytest.mark.parametrize("shape", SHAPES)
def test_an_unchanged_twin_has_no_unexplained_difference(shape: str) -> None:
    report = run(shape, None, 40 if shape in RECORDED and "HTML" in shape else 200, "suite")
    assert (report.reported, report.what) == (0, "")


SECRETS = re.compile(r"\w@\w+\.org|[\w-]{9,}\.[\w-]{6}\.[\w-]{27}|\b\w{64}\b|/feed/|session=|csrftoken=")
"""What is a secret in the recorded answers: addresses, tokens, sessions."""


@pytest.mark.parametrize("app", recordings())
def test_less_than_one_in_a_hundred_harmless_fields_of_recorded_answers_is_struck_out(app: str) -> None:
    struck, fields = [], 0
    for shape in recordings()[app]["shapes"]:
        for item in range(len(RECORDED[shape].answers)):
            reply = RECORDED[shape](Request(item, item, 1, START), Side("a"))
            for place, before, after in redacted(reply):
                if not SECRETS.search(before) and not place.endswith(".hash"):
                    fields += 1
                    struck += [(place, before, after)] if GONE in after else []
    assert fields > 50
    assert len(struck) < fields / 100, struck[:20]


def redacted(reply: Reply) -> Iterator[tuple[str, str, str]]:
    """Each field of it: where it is, what stands there, and what is kept of that."""
    redactor = Redactor()
    pairs = [(name, value) for name, value in reply.headers.items()]
    headers = redactor.headers(tuple((name.encode(), value.encode()) for name, value in pairs))
    yield from ((name, value, shown) for (name, value), (_, shown) in zip(pairs, headers, strict=True))
    if isinstance(reply.body, str):
        before, after = (tree_of_html(text.encode()) for text in (reply.body, redact_markup(reply.body, redactor)))
    else:
        before, after = reply.body, redactor.value(reply.body)
    there = {path: str(value) for path, value in places(after)}
    for path, value in places(before):
        yield ".".join(map(str, path)), str(value), there[path]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if steps is None:
        yield path, value
        return
    for step, item in steps:
        yield from places(item, (*path, step))
