"""From passages to an answer, as a sequence of events: the model's words, or quotations where there is no model."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from async_routes.chat.conversations import Turn
from async_routes.chat.model import Model, ModelFailed
from async_routes.chat.passages import QUOTED, Passage

log = logging.getLogger(__name__)

NOTHING = "The documentation that is indexed here has nothing about that."

Event = tuple[str, dict[str, Any]]
"""``("sources", {"sources"})``, ``("token", {"text"})``, ``("replace", {"note"})``: forget the words so far."""


@dataclass
class Answer:
    """What came together so far. ``mode`` is ``model`` or ``extractive``."""

    text: str = ""
    mode: str = "extractive"
    note: str | None = None
    sources: tuple[dict[str, Any], ...] = ()
    events: list[Event] = field(default_factory=list)

    def add(self, event: Event) -> None:
        self.events.append(event)
        name, data = event
        if name == "token":
            self.text += data["text"]
        elif name == "replace":
            self.text, self.note, self.mode = "", data["note"], "extractive"
        elif name == "sources":
            self.sources, self.mode = tuple(data["sources"]), data["mode"]

    @classmethod
    def of(cls, events: Sequence[Event]) -> Answer:
        answer = cls()
        for event in events:
            answer.add(event)
        return answer


async def answering(
    question: str, passages: list[Passage], history: list[Turn], model: Model | None, begun: Answer
) -> AsyncGenerator[Event, None]:
    """The events of an answer, after those of ``begun``."""
    if model is None or begun.note is not None or not passages:
        for event in [_sources(passages, "extractive"), *quotations(passages)][_extractive_events(begun) :]:
            yield event
        return
    if not begun.events:
        yield _sources(passages, "model")
    try:
        async with aclosing(model.answer(question, passages, history, begun.text)) as pieces:
            async for piece in pieces:
                yield "token", {"text": piece}
    except ModelFailed as error:
        log.warning("the model failed, the answer is made of quotations: %s", error, exc_info=error.__cause__)
        yield "replace", {"note": f"The model did not answer ({error}). These passages are quoted instead."}
        for event in quotations(passages):
            yield event


def quotations(passages: list[Passage]) -> list[Event]:
    quoted = [passage for passage in passages if passage.quote][:QUOTED]
    if not quoted:
        return [("token", {"text": NOTHING})]
    return [
        ("token", {"text": f"{'' if first else chr(10) * 2}“{passage.quote}” [{passage.number}]"})
        for first, passage in ((index == 0, passage) for index, passage in enumerate(quoted))
    ]


def _sources(passages: list[Passage], mode: str) -> Event:
    return "sources", {"sources": [passage.source() for passage in passages], "mode": mode}


def _extractive_events(begun: Answer) -> int:
    """How many events of the answer without a model were sent already."""
    names = [name for name, _ in begun.events]
    if "replace" not in names:
        return len(names)
    return len(names) - names.index("replace")  # those after it; the sources came at the beginning
