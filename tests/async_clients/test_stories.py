"""Flask apps with async clients, written with no word about Graft: every request of 500 is answered right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.async_clients.stories import STORIES, Services, Story, tell


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with ExitStack() as stack:
        yield Services(tmp_path_factory.mktemp("services"), stack)


@pytest.mark.parametrize("story", STORIES, ids=[story.app for story in STORIES])
def test_all_answers_are_right_and_nothing_is_said_about_loops(
    story: Story, services: Services, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if story.needs == "elasticsearch":
        services.search_url = request.getfixturevalue("real_elasticsearch").url
    outcome = tell(story, "Graft", services, tmp_path)
    assert outcome.good, f"{outcome}\n{(tmp_path / 'log').read_text()[-6000:]}"
