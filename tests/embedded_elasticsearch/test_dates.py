from __future__ import annotations

import time

import pytest

from embedded_elasticsearch import dates

DAY = 86_400_000
NEW_YEAR = 1_704_067_200_000  # 2024-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("value", "first", "length"),
    [
        ("2024", NEW_YEAR, DAY),
        ("2024-01", NEW_YEAR, DAY),
        ("2024-01-02", NEW_YEAR + DAY, DAY),
        ("2024-01-01T01", NEW_YEAR + 3_600_000, 3_600_000),
        ("2024-01-01T01:00", NEW_YEAR + 3_600_000, 60_000),
        ("2024-01-01T00:00:01Z", NEW_YEAR + 1000, 1000),
        ("2024-01-01T02:00:00.5+02:00", NEW_YEAR + 500, 1),
        ("2023-12-31T22:30:00.123456789-0130", NEW_YEAR + 123, 1),
        (NEW_YEAR, NEW_YEAR, 1),
        (str(NEW_YEAR), NEW_YEAR, 1),
        (1.9, 1, 1),
        ("-1000", -1000, 1),
    ],
)
def test_a_value_means_a_span_of_time(value: object, first: int, length: int) -> None:
    assert dates.parse(value, dates.DEFAULT_FORMAT) == (first, first + length - 1)


@pytest.mark.parametrize("value", ["", "gestern", "2024-13", "2024-02-30", "2024-1-1", "24-01-01", True, [], "9" * 30])
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="failed to parse date field"):
        dates.parse(value, dates.DEFAULT_FORMAT)


def test_dates_with_slashes_are_read_and_written() -> None:
    first, last = dates.parse("2024/01/02 03:04:05", dates.DYNAMIC_FORMAT)
    assert dates.to_slashes(first) == "2024/01/02 03:04:05"
    assert last - first == 999
    assert dates.to_text(first + 7) == "2024-01-02T03:04:05.007Z"
    assert dates.looks_like_date("2024/01/02") == dates.DYNAMIC_FORMAT
    assert dates.looks_like_date("2024-01-02") == dates.DEFAULT_FORMAT
    assert dates.looks_like_date("2024-13-02") is None
    assert dates.looks_like_date("soon") is None


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("2024-01-31||+1M", "2024-02-29T00:00:00.000Z"),
        ("2024-03-31||-1M+1d", "2024-03-01T00:00:00.000Z"),
        ("2024-02-29||+1y", "2025-02-28T00:00:00.000Z"),
        ("2024-01-01||+1w-2h+3m-4s", "2024-01-07T22:02:56.000Z"),
        ("2024-01-01||+d", "2024-01-02T00:00:00.000Z"),
    ],
)
def test_date_mathematics(expression: str, text: str) -> None:
    first, last = dates.resolve(expression, dates.DEFAULT_FORMAT)
    assert (dates.to_text(first), first) == (text, last)


def test_now_is_now() -> None:
    before = time.time() * 1000
    found, _ = dates.resolve("now-1h", dates.DEFAULT_FORMAT)
    assert 0 <= found + 3_600_000 - before + 1 < 60_000


@pytest.mark.parametrize("expression", ["now-", "nowish", "2024-01-01||+1x", "now/d", "now+1d x", "now+999999999999y"])
def test_mathematics_that_can_not_be_done_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"date math|rounding"):
        dates.resolve(expression, dates.DEFAULT_FORMAT)
