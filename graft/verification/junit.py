"""What came out of a verification, as JUnit XML, which CI systems show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree

from graft.mirroring.compare import Difference
from graft.verification.verify import Outcome, Verdict, Verification


def junit_xml(verification: Verification) -> bytes:
    """One suite a route, one case a request."""
    root = ElementTree.Element("testsuites", name="graft verify")
    by_route = sorted(verification.verdicts, key=lambda verdict: str(verdict.route or ""))
    for route, group in groupby(by_route, key=lambda verdict: str(verdict.route or "other routes")):
        verdicts = list(group)
        counts = Counter(verdict.outcome for verdict in verdicts)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_clean(route),
            tests=str(len(verdicts)),
            failures=str(counts[Outcome.DIFFERENT]),
            errors=str(counts[Outcome.FAILED]),
            skipped=str(counts[Outcome.SKIPPED] + counts[Outcome.NOT_COMPARABLE]),
        )
        for verdict in verdicts:
            _case(suite, route, verdict)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _case(suite: ElementTree.Element, route: str, verdict: Verdict) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=_clean(route), name=_clean(verdict.name))
    if verdict.outcome is Outcome.DIFFERENT:
        failure = ElementTree.SubElement(case, "failure", message=f"{len(verdict.differences)} places differ")
        failure.text = _clean("\n".join(lines_of(verdict.differences)))
    elif verdict.outcome is Outcome.FAILED:
        error = ElementTree.SubElement(case, "error", message=_clean(verdict.note or ""))
        error.text = _clean(verdict.trace or "")
    elif verdict.outcome is not Outcome.SAME:
        ElementTree.SubElement(case, "skipped", message=_clean(verdict.note or ""))


def lines_of(differences: Sequence[Difference], most: int = 20) -> list[str]:
    """Each place with both values."""
    shown = [
        f"{each.where} {each.change}\n  native: {_value(each.native)}\n  legacy: {_value(each.legacy)}"
        for each in differences[:most]
    ]
    more = len(differences) - len(shown)
    return [*shown, *([f"and {more} more"] if more else [])]


def _value(value: str | None) -> str:
    return "(not there)" if value is None else value


def _clean(text: str) -> str:
    """Without the characters that XML does not have."""
    return "".join(char if char in "\t\n" or char.isprintable() else "?" for char in text)
