"""Shapes of recorded answers: what six applications that others wrote have said, with the noise that they have."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.planted.shapes import Reply, Request, Side
from tests.planted.slots import Recorded, Template

RECORDINGS = Path(__file__).with_name("recordings")


class RecordedShape:
    """A route of an app: each item is one of the pages that were recorded."""

    def __init__(self, answers: list[Recorded]) -> None:
        self.answers = answers
        self._templates: list[Template] = []

    def __call__(self, request: Request, side: Side) -> Reply:
        self._templates = self._templates or [Template(each) for each in self.answers]
        template = self._templates[request.item % len(self._templates)]
        return reply_of(template.answer(side.chance, request.now))


def reply_of(text: str) -> Reply:
    head, _, body = text.partition("\n\n")
    status, *lines = head.split("\n")
    pairs = [line.partition(": ")[::2] for line in lines]
    cookies = [value for name, value in pairs if name == "set-cookie"]
    headers = {name: value for name, value in pairs if name != "set-cookie"}
    is_json = headers.get("content-type", "").startswith("application/json")
    return Reply(json.loads(body) if is_json else body, int(status), headers, cookies)


@cache
def recordings() -> dict[str, dict[str, Any]]:
    """By app."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))}


RECORDED: dict[str, RecordedShape] = {
    shape: RecordedShape(answers) for each in recordings().values() for shape, answers in each["shapes"].items()
}
