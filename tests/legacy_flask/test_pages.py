from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.legacy_flask.portal import HOSTILE, Browser, article_ids, make_app, rows


def test_home_counts_what_there_is(browser: Browser, data: Path) -> None:
    page = browser.get("/").text
    assert 'href="/browse?package=itsdangerous"' in page
    assert 'href="/browse?kind=method"' in page
    assert "None yet." in page
    (total,) = rows(data, "SELECT articles FROM catalogue")[0]
    assert f"{total:,} passages" in page


def test_without_a_catalogue_the_pages_say_how_to_build_it(tmp_path: Path) -> None:
    browser = Browser(make_app(tmp_path))
    for path in ("/", "/browse"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "flask --app legacy_flask build-catalogue" in page.text
    assert browser.get("/about").status_code == 200
    assert browser.get("/articles/7").status_code == 404
    assert browser.get("/api/articles").get_json()["total"] == 0


def test_browsing_by_package_and_kind(browser: Browser, data: Path) -> None:
    page = browser.get("/browse?package=itsdangerous&kind=class").text
    (total,) = rows(data, "SELECT count(*) FROM articles WHERE package = 'itsdangerous' AND kind = 'class'")[0]
    assert f"{total} articles" in page
    assert page.count('class="kind class"') == total


def test_pages_follow_each_other(browser: Browser) -> None:
    first = browser.get("/browse?package=asyncio").text
    assert 'rel="next" href="/browse?package=asyncio&amp;page=2"' in first
    assert 'rel="prev"' not in first
    assert 'rel="prev" href="/browse?package=asyncio&amp;page=1"' in browser.get("/browse?package=asyncio&page=2").text


def test_a_page_past_the_end_leads_back(browser: Browser) -> None:
    page = browser.get("/browse?package=json&page=50")
    assert page.status_code == 200
    assert "Back to the first" in page.text


def test_nothing_found_leads_on(browser: Browser) -> None:
    assert "Nothing fits" in browser.get("/browse?package=nobody").text


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.5", "99999999999", "501"])
def test_a_wrong_page_number_is_explained(browser: Browser, page: str) -> None:
    answer = browser.get(f"/browse?page={page}")
    assert answer.status_code == 400
    assert "page" in answer.text


def test_words_find_articles_and_mean_themselves(browser: Browser) -> None:
    assert "hostile" in browser.get("/browse?q=poison").text
    assert "Nothing fits" in browser.get("/browse?q=poi%25son").text  # a percent sign is no wildcard
    assert "Nothing fits" in browser.get("/browse?q=pois_n").text


def test_an_article_shows_signature_text_and_source(browser: Browser, data: Path) -> None:
    (article_id,) = article_ids(data, "name = 'asyncio.tasks.wait_for'")
    page = browser.get(f"/articles/{article_id}").text
    assert "asyncio.tasks.wait_for(fut, timeout)" in page
    assert "Wait for the single Future" in page
    assert "<code>asyncio/tasks.py</code>, line" in page


def test_articles_lead_to_the_one_before_and_after(browser: Browser, data: Path) -> None:
    first, second, third, *_ = article_ids(data)
    page = browser.get(f"/articles/{second}").text
    assert f'rel="prev" href="/articles/{first}"' in page
    assert f'rel="next" href="/articles/{third}"' in page
    assert 'rel="prev"' not in browser.get(f"/articles/{first}").text
    assert 'rel="next"' not in browser.get(f"/articles/{HOSTILE['id']}").text


def test_text_of_documents_is_escaped_everywhere(reader: Browser) -> None:
    reader.post("/bookmarks/7")
    for path in ("/articles/7", "/browse?package=hostile", "/", "/bookmarks"):
        page = reader.get(path).text
        assert "hostile.run" in page.replace("<wbr>", "")
        assert "<script>alert" not in page
        assert "<img src=x" not in page


@pytest.mark.parametrize("path", ["/", "/browse", "/about", "/login", "/register", "/articles/7", "/nowhere"])
def test_every_link_of_every_page_leads_somewhere(browser: Browser, path: str) -> None:
    links = _Links(browser.get(path).text)
    assert links.found
    for link in links.found:
        assert browser.get(link, follow_redirects=True).status_code == 200, link


def test_the_search_box_finds_something_also_without_a_search_server(browser: Browser) -> None:
    assert 'action="/search"' in browser.get("/").text
    assert browser.get("/search?q=poison&kind=class").headers["Location"] == "/browse?q=poison&kind=class"
    assert browser.get("/api/docs").headers["Location"] == "/about"


def test_the_search_box_leads_to_no_other_address(browser: Browser) -> None:
    answer = browser.get("/search?endpoint=x&_external=1&_scheme=javascript&_anchor=y")
    assert answer.headers["Location"].startswith("/browse?endpoint=x&")


def test_below_a_prefix_the_search_box_stays_below_it(browser: Browser) -> None:
    page = browser.get("/", environ_overrides={"SCRIPT_NAME": "/docs"}).text
    assert 'action="/docs/search"' in page
    assert 'href="/docs/browse"' in page


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value and value.startswith("/"):
                self.found.add(value)
