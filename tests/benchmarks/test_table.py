"""The tables of both READMEs, as the benchmarks write them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.contenders import ROOT
from benchmarks.results import Goal, Report, Result
from benchmarks.table import END, HEADLINES, START, headlines, insert, section, table

MACHINE = {
    "date": "2030-01-02",
    "cpu": "A CPU",
    "cores": 2,
    "python": "3.13.1",
    "pinned": "servers on core 0",
    "rounds": 15,
    "versions": {"granian": "2.8.7", "flask": "3.1.3"},
}


def result(*goals: Goal, title: str = "small view") -> Result:
    return Result("small", title, list(goals), {})


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split(" | ")]


def test_the_peers_of_a_work_stand_side_by_side_in_one_row() -> None:
    found = result(Goal("throughput", "gthread", 3.456, 3), Goal("throughput", "granian", 0.81, 0.8))
    assert cells(table([found]).splitlines()[2]) == [
        "small view",
        "throughput",
        "gthread / granian",
        "3.46x / 0.81x",
        "at least 3x / 0.8x",
    ]


def test_another_figure_of_the_same_work_has_a_row_of_its_own() -> None:
    found = result(Goal("throughput", "gthread", 4, 3), Goal("p99", "gthread", 0.5, 1, at_most=True))
    rows = table([found]).splitlines()[2:]
    assert [cells(row)[1] for row in rows] == ["throughput", "p99"]
    assert cells(rows[1])[4] == "at most 1x"


def test_a_goal_that_was_missed_says_so() -> None:
    found = result(
        Goal("memory above", "gthread", 20.04, 15, at_most=True, unit="MiB"), Goal("p99", "", 9, 10, True, "ms")
    )
    first, second = table([found]).splitlines()[2:]
    assert cells(first)[2:4] == ["gthread", "**20.0 MiB, missed**"]
    assert cells(second)[2:4] == ["-", "9.00 ms"]


def test_a_bar_in_a_title_breaks_no_row() -> None:
    assert "a \\| b" in table([result(Goal("throughput", "gthread", 4, 3), title="a | b")])


def test_the_section_has_the_chart_the_table_and_the_machine() -> None:
    found = [result(Goal("throughput", "gthread", 4, 3), Goal("throughput", "granian", 0.5, 0.8))]
    text = section(Report(MACHINE, found), "benchmarks/results.svg")
    assert "](benchmarks/results.svg)" in text
    assert table(found) in text
    assert "1 of 2 goals are met" in text
    assert "A CPU with 2 cores (servers on core 0), Python 3.13.1, granian 2.8.7" in text


def test_a_work_without_a_result_is_named_with_its_reason() -> None:
    text = section(Report(MACHINE, [], {"search": "Java 21 is missing: install it\nand more"}), "chart.svg")
    assert "Not measured: search (Java 21 is missing: install it)." in text


def test_the_text_between_the_markers_is_replaced_and_nothing_else() -> None:
    page = f"# Title\n\n{START}\nold\n{END}\n\nthe end\n"
    once = insert(page, "new")
    assert once == f"# Title\n\n{START}\n\nnew\n\n{END}\n\nthe end\n"
    assert insert(once, "new") == once


@pytest.mark.parametrize("page", ["no markers", START, f"{END} {START}", f"{START} {END} {START} {END}"])
def test_a_page_without_its_two_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="each once"):
        insert(page, "new")


def test_the_project_s_page_has_the_first_row_of_five_works() -> None:
    found = [
        replace(result(Goal("throughput", "gthread", 4, 3), Goal("p99", "gthread", 4, 3, True), title=work), work=work)
        for work in ("memory", *HEADLINES)
    ]
    text = headlines(Report(MACHINE, found), "benchmarks/README.md#results")
    rows = [cells(line)[:2] for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == [[work, "throughput"] for work in HEADLINES]
    assert len(rows) == 5
    assert "(benchmarks/README.md#results)" in text


def test_headlines_are_works_that_there_are() -> None:
    known = json.loads((ROOT / "benchmarks/results.json").read_text(encoding="utf-8"))["results"]
    assert set(HEADLINES) <= {one["work"] for one in known}


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md"])
def test_the_pages_have_the_markers(page: str) -> None:
    insert((ROOT / page).read_text(encoding="utf-8"), "new")


def test_what_is_written_can_be_read_again() -> None:
    report = Report(MACHINE, [result(Goal("p99", "gthread", 0.5, 1, at_most=True))], {"search": "no Java"})
    assert Report.from_json(report.as_json()) == report


def test_a_work_that_is_measured_again_takes_its_old_place_and_says_so() -> None:
    first, second = result(Goal("p99", "gthread", 2, 1, at_most=True)), result(Goal("p99", "granian", 2, 1))
    old = Report(MACHINE, [replace(first, work="a"), replace(second, work="b")])
    again = Report({**MACHINE, "date": "2030-01-02", "commit": "abc"}, [replace(first, work="b")])
    renewed = old.renewed(again)
    assert renewed.machine == MACHINE
    assert renewed.results[0] == old.results[0]
    assert renewed.results[1].goals == first.goals
    assert renewed.results[1].notes[-1] == "measured again on 2030-01-02, at commit abc"


def test_a_new_work_stands_behind_the_one_that_it_was_measured_after() -> None:
    one = result(Goal("throughput", "gthread", 2, 1))
    machine = {**MACHINE, "commit": "abc"}
    old = Report(MACHINE, [replace(one, work=work) for work in "ac"])
    again = Report(machine, [replace(one, work=work) for work in ("a", "b", "d")])
    assert [each.work for each in old.renewed(again).results] == ["a", "b", "d", "c"]
    assert [each.work for each in old.renewed(Report(machine, [replace(one, work="x")])).results] == ["a", "c", "x"]
