"""A small part of the campaign: streams that two servers could read in two ways, and whose answer goes to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.connection.campaign import SERVERS, campaign
from tests.connection.streams import generate
from tests.parts import program

SEEDS = range(200)


@pytest.mark.slow
async def test_no_answer_goes_to_another_request_straight_and_behind_nginx(tmp_path: Path) -> None:
    program("nginx", "apt install nginx-light")
    accounts = await campaign(tmp_path, SERVERS, SEEDS)
    for way, account in accounts.items():
        print(way, account)
        assert account.sent == len(SEEDS)
        assert account.visits > 0
        if way.startswith("graft"):
            assert account.wrong == []
            assert account.strangers == []
            assert account.statuses[200] > account.sent / 2  # it is no answer to refuse everything


def test_a_wrong_answer_is_seen() -> None:
    """What the test above relies on: streams with requests in their bodies, and accounts that notice their answers."""
    streams = [generate(seed) for seed in SEEDS]
    hidden = [
        stream for stream in streams if any(b"/%d " % number in b"".join(stream.segments) for number in stream.never)
    ]
    assert len(hidden) > len(streams) / 3
    stream = next(stream for stream in hidden if len(stream.numbers) > 1)
    first, second = list(stream.numbers)[:2]
    right = [(200, number, size if (size := stream.numbers[number]) is not None else 0) for number in (first, second)]
    assert stream.wrong(right) is None
    assert "what is no request" in str(stream.wrong([(200, min(stream.never), 0)]))
    assert "somebody else" in str(stream.wrong([(200, first + 5, 0)]))
    assert "another order" in str(stream.wrong(right[::-1]))
    assert "another order" in str(stream.wrong([right[0], right[0]]))
    assert "answers to" in str(stream.wrong([(400, -1, -1)] * 9))
