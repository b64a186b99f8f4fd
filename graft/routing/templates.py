"""Many templates that begin alike, as ``/{tenant}/...``: which of them may match a path, without a try of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Templates(Generic[Found]):
    """``of(path)`` gives what belongs to the templates whose segments without a parameter all stand in the path, where
    they stand in the template; and what came with no template (None). Immutable once made.

    Templates of one shape, which have such segments at the same places, are found together, by one look-up.
    """

    def __init__(self, pairs: Iterable[tuple[str | None, Found]]) -> None:
        self._always: list[Found] = []
        self._shapes: dict[int, dict[tuple[int, ...], dict[tuple[str, ...], list[Found]]]] = {}
        for template, found in pairs:
            if template is None:
                self._always.append(found)
                continue
            segments = template.split("/")
            places = tuple(place for place, segment in enumerate(segments) if "{" not in segment)
            alike = self._shapes.setdefault(len(segments), {}).setdefault(places, {})
            alike.setdefault(tuple(segments[place] for place in places), []).append(found)

    def of(self, path: str) -> Iterator[Found]:
        yield from self._always
        segments = path.split("/")
        for places, alike in self._shapes.get(len(segments), {}).items():
            yield from alike.get(tuple([segments[place] for place in places]), ())
