from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, NotFoundError, TransportError
from flask import Flask
from starlette.testclient import TestClient

from async_routes.documents import words
from tests.legacy_flask.portal import Browser, rows


def names(native: TestClient, query: str) -> list[str]:
    return [result["name"] for result in native.get(f"/api/search?q={query}").json()["results"]]


@pytest.mark.parametrize(
    "query", ["wait_for", "asyncio.wait_for", "asyncio.tasks.wait_for", "WAIT_FOR", "tasks.wait_for"]
)
def test_a_name_is_found_however_it_is_written(native: TestClient, query: str) -> None:
    assert "asyncio.tasks.wait_for" in names(native, query)[:3]


@pytest.mark.parametrize("query", ["JSONDecoder", "json decoder", "json.JSONDecoder", "json.decoder.JSONDecoder"])
def test_a_class_is_found_by_its_words_too(native: TestClient, query: str) -> None:
    assert "json.decoder.JSONDecoder" in names(native, query)[:3]


def test_the_best_result_comes_first(native: TestClient) -> None:
    answer = native.get("/api/search?q=event loop policy").json()
    scores = [result["score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert "policy" in answer["results"][0]["title"].lower()


def test_a_result_says_what_it_is_and_where(native: TestClient) -> None:
    (result,) = native.get("/api/search?q=poison").json()["results"]
    assert {key: result[key] for key in ("id", "package", "version", "kind", "name", "url")} == {
        "id": 7,
        "package": "hostile",
        "version": "1.0",
        "kind": "function",
        "name": "hostile.run",
        "url": "/articles/7",
    }
    assert set(result) == {
        *("id", "package", "version", "module", "kind", "name", "title", "summary", "url", "score", "highlights")
    }


def test_what_was_found_is_marked_and_the_rest_escaped(native: TestClient) -> None:
    (result,) = native.get("/api/search?q=poison").json()["results"]
    assert "<mark>poison</mark>" in result["highlights"]["text"][0]
    assert "<img" not in result["highlights"]["text"][0]
    page = native.get("/search?q=poison alert script").text
    assert "<mark>poison</mark>" in page
    assert "<script>alert" not in page
    assert "<img src" not in page


def test_facets_count_what_each_choice_would_find(native: TestClient) -> None:
    everything = native.get("/api/search?q=the").json()
    chosen = native.get("/api/search?q=the&package=json").json()
    assert chosen["facets"] == everything["facets"]
    counts = {facet["value"]: facet["count"] for facet in everything["facets"]["package"]}
    assert chosen["total"] == counts["json"] < everything["total"]
    assert sum(counts.values()) == everything["total"]
    assert {result["package"] for result in chosen["results"]} == {"json"}


def test_both_choices_narrow(native: TestClient) -> None:
    answer = native.get("/api/search?q=the&package=json&kind=method").json()
    assert {(result["package"], result["kind"]) for result in answer["results"]} == {("json", "method")}


def test_pages_follow_each_other_and_nothing_comes_twice(native: TestClient) -> None:
    answer = native.get("/api/search?q=the").json()
    seen = []
    for page in range(1, answer["pages"] + 1):
        part = native.get(f"/api/search?q=the&page={page}").json()
        assert (part["page"], part["per_page"], part["total"]) == (page, 20, answer["total"])
        seen += [result["id"] for result in part["results"]]
    assert len(seen) == len(set(seen)) == answer["total"]
    assert native.get(f"/api/search?q=the&page={answer['pages'] + 1}").json()["results"] == []


@pytest.mark.parametrize("query", ["q=xyzzyplugh", "q=the&package=nobody", "q=the&kind=nothing", "q=%2B-%26|!(){}*"])
def test_nothing_found_is_an_empty_answer(native: TestClient, query: str) -> None:
    answer = native.get(f"/api/search?{query}")
    assert answer.status_code == 200
    assert answer.json()["results"] == []
    assert answer.json()["pages"] == answer.json()["total"] == 0
    assert "Nothing fits" in native.get(f"/search?{query}").text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "q must have 1 to 200 characters."),
        ("q=", "q must have"),
        ("q=%20%09", "q must have"),
        ("q=" + "x" * 201, "q must have"),
        ("q=the&page=0", "page must be a whole number from 1 to 500."),
        ("q=the&page=501", "page must be"),
        ("q=the&page=two", "page must be"),
        ("q=the&page=", "page must be"),
        ("q=the&page=-1", "page must be"),
    ],
)
def test_a_bad_parameter_is_a_clear_400(native: TestClient, query: str, said: str) -> None:
    answer = native.get(f"/api/search?{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["request_id"]) == ("bad_parameter", "test-request")
    assert said in error["message"]


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20%09"])
def test_a_search_for_nothing_asks_what_it_is_that_one_looks_for(native: TestClient, query: str) -> None:
    page = native.get(f"/search{query}")
    assert page.status_code == 200
    assert "What are you looking for?" in page.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("q=" + "x" * 201, "Please ask in up to 200 characters."),
        ("q=the&page=two", "There is no such page of results."),
    ],
)
def test_the_page_tells_people_in_their_own_words(native: TestClient, query: str, said: str) -> None:
    page = native.get(f"/search?{query}")
    assert page.status_code == 400
    assert said in page.text


@pytest.mark.parametrize(
    "query",
    ["<script>alert(1)</script>", '" onfocus="alert(1)', "{{ 7 * 7 }}", "\0", "\ufffd", "🐍 naïve", "a:b AND (c"],
)
def test_hostile_words_are_just_words(native: TestClient, query: str) -> None:
    answer = native.get("/api/search", params={"q": query + " wait_for"})
    assert answer.status_code == 200
    page = native.get("/search", params={"q": query + " wait_for"})
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert '" onfocus' not in page.text
    assert "49 wait_for" not in page.text


def test_a_page_shows_results_facets_and_the_way_on(native: TestClient) -> None:
    page = native.get("/search?q=the&kind=method").text
    assert 'value="the"' in page
    assert 'class="kind method"' in page
    assert 'href="/search?q=the&amp;kind=method&amp;page=2"' in page
    assert 'href="/search?q=the&amp;package=json&amp;kind=method"' in page
    assert 'href="/search?q=the"' in page  # back to all kinds
    assert "Back to the first" in native.get("/search?q=the&page=400").text


def test_the_page_begins_with_a_question(native: TestClient) -> None:
    page = native.get("/search")
    assert page.status_code == 200
    assert "What are you looking for?" in page.text


def test_native_and_legacy_pages_have_the_same_frame(native: TestClient, app: Flask) -> None:
    ours = native.get("/search").text
    theirs = app.test_client().get("/about").text
    assert _frame(ours) == _frame(theirs.replace(' aria-current="page"', ""))


def test_a_native_page_has_the_headers_of_the_others(native: TestClient, app: Flask) -> None:
    ours, theirs = native.get("/search").headers, app.test_client().get("/about").headers
    for name in ("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"):
        assert ours[name] == theirs[name]


def test_the_native_page_knows_who_is_signed_in(native: TestClient, app: Flask) -> None:
    browser = Browser(app)
    browser.register()
    cookie = browser.client.get_cookie("session")
    assert cookie is not None
    native.cookies.set("session", cookie.value)
    assert "Signed in as marta" in native.get("/search?q=wait").text


def _frame(page: str) -> tuple[str, str]:
    """The header without title, account and what was searched for, and the footer."""
    head, _, rest = page.partition('<nav class="links"')
    nav = rest.partition("</nav>")[0]
    return head.partition("<link")[2] + nav, page.partition("</main>")[2]


def test_below_a_prefix_all_addresses_stay_below_it(native: TestClient) -> None:
    with TestClient(native.app, root_path="/docs") as below:
        page = below.get("/docs/search?q=poison").text
        assert 'href="/docs/articles/7"' in page
        assert 'action="/docs/search"' in page
        assert 'href="/docs/search?q=poison&amp;package=hostile"' in page
        assert below.get("/docs/api/search?q=poison").json()["results"][0]["url"] == "/docs/articles/7"


def test_a_server_that_is_down_is_a_503_page(without_server: TestClient) -> None:
    page = without_server.get("/search?q=wait")
    assert page.status_code == 503
    assert "does not answer" in page.text
    assert 'value="wait"' in page.text
    with pytest.raises(TransportError):  # the gateway makes the JSON answer of it
        without_server.get("/api/search?q=wait")


def test_an_index_that_is_not_built_yet_is_named(without_index: TestClient) -> None:
    page = without_index.get("/search?q=wait")
    assert page.status_code == 503
    assert "has not been built yet" in page.text
    with pytest.raises(NotFoundError):
        without_index.get("/api/search?q=wait")


def test_the_index_has_what_the_catalogue_has(native: TestClient, data: Path) -> None:
    (total,) = rows(data, "SELECT count(*) FROM articles")[0]
    assert native.get("/api/articles").json()["total"] == total


@pytest.mark.parametrize(
    ("package", "module", "name", "expected"),
    [
        (
            "asyncio",
            "asyncio.tasks",
            "asyncio.tasks.wait_for",
            "asyncio.wait_for asyncio.tasks.wait_for tasks.wait_for wait_for asyncio tasks wait for",
        ),
        ("http", "http.server", "http.server", "http http.server server"),
        ("x", "x", "x.HTTPServer2.get", "x.HTTPServer2.get HTTPServer2.get get x HTTPServer2 HTTP Server 2"),
    ],
)
def test_a_name_is_indexed_in_the_ways_it_is_written(package: str, module: str, name: str, expected: str) -> None:
    assert words({"package": package, "module": module, "name": name}) == expected


@pytest.mark.parametrize("partial", [True, False])
def test_what_may_be_missing_is_said(native: TestClient, monkeypatch: pytest.MonkeyPatch, partial: bool) -> None:
    search = AsyncElasticsearch.search

    async def some(client: AsyncElasticsearch, **options: Any) -> Any:
        found = await search(client, **options)
        found["_shards"]["failed"] = int(partial)
        return found

    monkeypatch.setattr(AsyncElasticsearch, "search", some)
    assert native.get("/api/search?q=json").json()["partial"] is partial
    page = native.get("/search?q=json")
    assert ("A part of the search index does not answer" in page.text, page.status_code) == (partial, 200)
