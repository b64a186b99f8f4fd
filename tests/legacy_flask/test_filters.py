from __future__ import annotations

from datetime import UTC, datetime

import pytest

from legacy_flask import filters


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2019-04-01T11:59:30Z", "just now"),
        ("2019-04-01T11:58:30Z", "1 minute ago"),
        ("2019-04-01T09:00:00Z", "3 hours ago"),
        ("2019-03-30T12:00:00Z", "2 days ago"),
        ("2019-01-05T12:00:00Z", "5 January 2019"),
        ("2019-04-01T13:00:00Z", "just now"),
    ],
)
def test_times_are_told_as_people_tell_them(moment: str, said: str) -> None:
    assert filters.ago(moment, now=datetime(2019, 4, 1, 12, tzinfo=UTC)) == said


def test_now_is_now() -> None:
    assert filters.ago("2019-04-01T12:00:00Z") == "1 April 2019"


@pytest.mark.parametrize(
    ("octets", "said"), [(3, "3 bytes"), (34_816, "34 KB"), (5 << 20, "5 MB"), (1_600_000, "1.5 MB")]
)
def test_sizes_are_round(octets: int, said: str) -> None:
    assert filters.size(octets) == said


def test_thousands_are_set_apart() -> None:
    assert filters.thousands(5312) == "5,312"
