from __future__ import annotations

from pathlib import Path

import pytest

from tests.legacy_flask.portal import HOSTILE, Browser, article_ids, rows


def test_a_listing_has_articles_and_says_where_it_is(browser: Browser, data: Path) -> None:
    answer = browser.get("/api/articles?per_page=3&page=2").get_json()
    ids = list(article_ids(data))
    assert [article["id"] for article in answer["articles"]] == ids[3:6]
    assert {key: answer[key] for key in ("page", "per_page", "pages", "total")} == {
        "page": 2,
        "per_page": 3,
        "pages": -(-len(ids) // 3),
        "total": len(ids),
    }
    assert set(answer["articles"][0]) == {"id", "package", "version", "module", "kind", "name", "title", "summary"}


def test_a_listing_is_narrowed_by_package_and_kind(browser: Browser, data: Path) -> None:
    answer = browser.get("/api/articles?package=json&kind=method").get_json()
    (expected,) = rows(data, "SELECT count(*) FROM articles WHERE package = 'json' AND kind = 'method'")[0]
    assert answer["total"] == expected > 0
    assert {(a["package"], a["kind"]) for a in answer["articles"]} == {("json", "method")}


@pytest.mark.parametrize("query", ["package=nobody", "kind=nothing", "package=%00", "page=400"])
def test_nothing_found_is_an_empty_list(browser: Browser, query: str) -> None:
    answer = browser.get(f"/api/articles?{query}")
    assert answer.status_code == 200
    assert answer.get_json()["articles"] == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("page=0", "page must be a whole number from 1 to 10000."),
        ("page=-1", "page must be"),
        ("page=", "page must be"),
        ("page=two", "page must be"),
        ("page=1_0", "page must be"),
        ("page=%2B1", "page must be"),
        ("page=%D9%A3", "page must be"),
        ("page=99999999999999999999", "page must be"),
        ("per_page=101", "per_page must be a whole number from 1 to 100."),
        ("per_page=0", "per_page must be"),
        ("page=101&per_page=100", "past the first 10000"),
    ],
)
def test_a_bad_parameter_is_a_clear_400(browser: Browser, query: str, said: str) -> None:
    answer = browser.get(f"/api/articles?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "bad_request"
    assert said in answer.get_json()["error"]["message"]


def test_one_article_has_all_its_fields(browser: Browser) -> None:
    answer = browser.get("/api/articles/7").get_json()
    assert answer == {key: value for key, value in HOSTILE.items() if key != "position"}


@pytest.mark.parametrize("number", ["1", "0", str(2**63), "9" * 60])
def test_an_unknown_article_is_a_json_404(browser: Browser, number: str) -> None:
    answer = browser.get(f"/api/articles/{number}")
    assert answer.status_code == 404
    assert answer.get_json() == {"error": {"code": "not_found", "message": f"There is no article {number}."}}
