from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.mirroring import compare as module
from graft.mirroring.answers import Answer
from graft.mirroring.bodies import TooLarge
from graft.mirroring.compare import Comparison, Difference, compare, signature
from graft.mirroring.observation import agree
from graft.mirroring.paths import Rules, pattern, written
from graft.operations.switch import Switch
from graft.types import Side

JSON = "application/json"
HTML = "text/html; charset=utf-8"


def answer(body: Any, content_type: str = JSON, status: int = 200, **headers: str) -> Answer:
    pairs = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Answer(Side.NATIVE, status, tuple((n.encode(), v.encode()) for n, v in pairs.items()), raw, 1.0)


def differ(native: Answer, legacy: Answer, **settings: Any) -> tuple[Difference, ...]:
    return compare(native, legacy, Comparison.of(Switch(**settings)))


def where(native: Any, legacy: Any, **settings: Any) -> list[str]:
    return [f"{each.where} {each.change}" for each in differ(answer(native), answer(legacy), **settings)]


# Status and headers


def test_the_status_is_compared_and_can_be_ignored() -> None:
    [found] = differ(answer(1, status=500), answer(1))
    assert (found.where, found.native, found.legacy, found.what) == (
        "status",
        "500",
        "200",
        "status 500 instead of 200",
    )
    assert differ(answer(1, status=500), answer(1), ignore=("status",)) == ()


def test_chosen_headers_are_compared_and_others_are_not() -> None:
    native, legacy = (
        answer(1, location="/a", etag="1", allow="GET"),
        answer(1, etag="2", cache_control="no-store", allow="GET"),
    )
    assert [f"{each.where} {each.change}" for each in differ(native, legacy)] == [
        "header.location extra",
        "header.cache-control missing",
    ]
    assert [each.where for each in differ(native, legacy, headers=("etag",))] == ["header.etag"]
    assert differ(native, legacy, headers=("etag",), ignore=("header.ETag",)) == ()


@pytest.mark.parametrize(
    ("name", "native", "legacy"),
    [
        ("content_type", "text/html; charset=utf-8", "text/html;charset=UTF-8"),
        ("cache_control", "no-store, max-age=0", "max-age=0,no-store"),
        ("allow", "GET, HEAD", "head,get"),
        ("location", "http://host/x?a=b", "/x?a=b"),
        ("location", "/x", "https://host/x"),
        ("vary", "Cookie, Accept-Encoding", "cookie"),
    ],
)
def test_headers_that_mean_the_same_are_the_same(name: str, native: str, legacy: str) -> None:
    one, other = (
        Answer(side, 200, ((name.replace("_", "-").encode(), value.encode()),), b"", 1.0)
        for side, value in ((Side.NATIVE, native), (Side.LEGACY, legacy))
    )
    assert differ(one, other) == ()


@pytest.mark.parametrize(("native", "legacy"), [("/x", "/y"), ("http://a/x", "http://b/x"), ("http://a", "/x")])
def test_a_redirect_to_another_place_is_a_difference(native: str, legacy: str) -> None:
    assert [each.where for each in differ(answer(1, location=native), answer(1, location=legacy))] == [
        "header.location"
    ]


@pytest.mark.parametrize("name", ["vary", "link", "x_total_count", "clear_site_data", "pragma", "content_range"])
def test_a_header_that_caches_or_clients_of_an_api_go_by_is_missed(name: str) -> None:
    here = answer(1, **{name: "Cookie"})
    assert [each.what for each in differ(answer(1), here)] == [f"header.{name.replace('_', '-')} missing"]
    assert [each.what for each in differ(here, answer(1))] == [f"header.{name.replace('_', '-')} extra"]


def test_that_an_answer_depends_on_its_encoding_is_its_servers_matter() -> None:
    assert differ(answer(1), answer(1, vary="Accept-Encoding")) == ()
    assert agree(answer(1), answer(1, vary="Accept-Encoding"), None, Comparison.of(Switch()))


def test_a_header_that_is_there_twice_is_one_value() -> None:
    twice = Answer(Side.NATIVE, 200, ((b"Vary", b"a"), (b"vary", b"b")), b"", 1.0)
    assert differ(twice, Answer(Side.LEGACY, 200, ((b"vary", b"b,a"),), b"", 1.0), headers=("vary",)) == ()


# JSON


def test_the_same_json_in_other_bytes_is_the_same() -> None:
    assert differ(answer('{"b": "\\u00e9", "a": [1, 2]}\n'), answer({"a": [1, 2], "b": "é"})) == ()


@pytest.mark.parametrize(
    ("native", "legacy", "found"),
    [
        ({"items": [{"name": "a"}]}, {"items": [{"name": "b"}]}, ["body.items[0].name changed"]),
        ({"a": 1}, {}, ["body.a extra"]),
        ({}, {"a": None}, ["body.a missing"]),
        ({"a": None}, {"a": 1}, ["body.a changed"]),
        ([1, 2], [1, 2, 3], ["body length"]),
        ({"a.b": {"c[0]": 1}}, {"a.b": {"c[0]": 2}}, ['body["a.b"]["c[0]"] changed']),
        ({'"': 1, "": 1}, {'"': 2, "": 2}, ['body["\\""] changed', 'body[""] changed']),
        (True, 1, ["body changed"]),
        ({"a": False}, {"a": 0}, ["body.a changed"]),
        ([1], ["1"], ["body[0] changed"]),
        ([], {}, ["body changed"]),
        (1, 1.5, ["body changed"]),
        (1, 1.0, []),
        (10**400, 1.5, ["body changed"]),
    ],
)
def test_json_is_compared_by_structure(native: Any, legacy: Any, found: list[str]) -> None:
    assert where(native, legacy) == found


def test_not_a_number_is_itself() -> None:
    assert differ(answer("[NaN, 1]"), answer("[NaN,   1.0]")) == ()


def test_values_are_shown_short() -> None:
    native = {"a": None, "b": {"x": 1}, "c": "y" * 999, "d": [1, 2], "e": True}
    found = {each.where: each.native for each in differ(answer(native), answer({}))}
    assert found["body.a"] == "null"
    assert found["body.b"] == "an object of 1"
    assert found["body.d"] == "an array of 2"
    assert found["body.e"] == "true"
    assert len(found["body.c"] or "") < 300


def test_numbers_within_the_tolerance_are_the_same() -> None:
    assert where({"score": 1.04}, {"score": 1.0}, tolerance=0.05) == []
    assert where({"score": 1.06}, {"score": 1.0}, tolerance=0.05) == ["body.score changed"]
    assert where({"score": True}, {"score": 1}, tolerance=5.0) == ["body.score changed"]


@pytest.mark.parametrize(
    "rule", ["body", "body.items", "body.items[*]", "body.items[*].score", "body.items[0].score", 'body["items"][0]']
)
def test_what_is_ignored_does_not_count(rule: str) -> None:
    assert where({"items": [{"score": 1}]}, {"items": [{"score": 2}]}, ignore=(rule,)) == []


@pytest.mark.parametrize(
    "rule", ["body.other", "body.items[1].score", "body.items.score", "body.items[*].score.x", "status"]
)
def test_a_rule_for_another_place_changes_nothing(rule: str) -> None:
    assert where({"items": [{"score": 1}]}, {"items": [{"score": 2}]}, ignore=(rule,)) == [
        "body.items[0].score changed"
    ]


def test_the_length_of_an_ignored_array_does_not_count() -> None:
    assert where({"a": [1]}, {"a": []}, ignore=("body.a[*]",)) == []


def test_arrays_are_unordered_where_it_is_set() -> None:
    native, legacy = {"tags": [{"a": 1}, {"a": 2}, {"a": 2}]}, {"tags": [{"a": 2}, {"a": 1}, {"a": 2}]}
    assert where(native, legacy, unordered=("body.tags",)) == []
    assert where(native, legacy) != []
    assert where([3, 1, 2], [1, 2, 3], unordered=("body",)) == []


def test_what_is_left_of_unordered_arrays_is_compared() -> None:
    native = [{"id": 1, "x": "a", "score": 1}, {"id": 2, "x": "b", "score": 2}]
    legacy = [{"id": 2, "x": "c", "score": 3}, {"id": 1, "x": "a", "score": [4]}]
    assert where(native, legacy, unordered=("body",), ignore=("body[*].score",)) == ["body[0].x changed"]
    assert where([1, 1], [1], unordered=("body",)) == ["body length"]


def test_json_that_is_none_is_compared_byte_by_byte() -> None:
    [found] = differ(answer("not json"), answer("not JSON"))
    assert (found.where, found.native) == ("body", "8 bytes, from 4: not json")


def test_json_on_one_side_only_is_compared_byte_by_byte() -> None:
    assert [each.where for each in differ(answer("{}", "text/plain"), answer("[]"))] == ["header.content-type", "body"]


@pytest.mark.parametrize("depth", [900, 10_000, 100_000])
def test_deep_json_is_no_trouble(depth: int) -> None:
    native, legacy = "[" * depth + "1" + "]" * depth, "[" * depth + "2" + "]" * depth
    [found] = differ(answer(native), answer(legacy))
    assert len(found.where) < 300
    assert len(found.what) < 300
    differ(answer(native), answer(legacy), unordered=("body",), ignore=("body[*].x",))


def test_hostile_numbers_are_no_trouble() -> None:
    assert where("9" * 100_000, "8" * 100_000) != []
    assert where("[1e999]", "[1e998]") == []


def test_a_place_that_differs_in_every_row_hides_no_other() -> None:
    native = {"rows": [{"id": n, "seen": n + 1} for n in range(5000)], "total": 1}
    legacy = {"rows": [{"id": n, "seen": n} for n in range(5000)], "total": 2}
    found = where(native, legacy)
    assert "body.total changed" in found
    assert len(found) == module.OF_A_PLACE + 1


def test_rows_in_another_order_are_one_difference_and_each_row_is_still_compared() -> None:
    legacy = [{"id": n, "name": f"n{n}"} for n in range(5)]
    native = [*reversed(legacy[1:]), {"id": 0, "name": "other"}]
    assert where(native, legacy) == ["body order", "body[0].name changed"]
    assert where([3, 1, 2], [1, 2, 3]) == ["body order"]


def test_a_row_more_is_one_difference_and_hides_none_behind_it() -> None:
    legacy = [{"id": n, "name": f"n{n}"} for n in range(5)]
    native = [{"id": 9, "name": "new"}, *legacy[:4], {"id": 4, "name": "other"}]
    assert where(native, legacy) == ["body length", "body[0] extra", "body[4].name changed"]


def test_keys_that_are_data_are_made_general() -> None:
    legacy = {"prices": {f"sku-{n}": {"ts": n, "price": n} for n in range(9)}}
    native = {"prices": {f"sku-{n}": {"ts": n + 1, "price": n} for n in range(9)}}
    assert {each.what for each in differ(answer(native), answer(legacy))} == {"body.prices.*.ts changed"}
    assert where(native, legacy, ignore=("body.prices.*.ts",)) == []


@pytest.mark.parametrize("element", ["textarea", "pre", "script"])
def test_white_space_counts_where_it_is_shown_or_sent(element: str) -> None:
    native, legacy = (f"<div><{element}>{text}</{element}></div>" for text in ("a\n b", "a\n\n b "))
    assert len(differ(answer(native, HTML), answer(legacy, HTML))) == 1


@pytest.mark.parametrize(
    ("native", "legacy", "found"),
    [
        ("a=1; Path=/; HttpOnly", "a=1; Path=/", ["header.set-cookie.a.attributes.httponly extra"]),
        ("a=1; SameSite=lax", "a=1; SameSite=Lax", []),
        ("a=1", "a=2", ["header.set-cookie.a.value changed"]),
        ("b=1", "a=1", ["header.set-cookie.a missing", "header.set-cookie.b extra"]),
        ("s=eyJpZCI6MX0.aaaa.bbbb", "s=eyJpZCI6MX0.cccc.dddd", []),
        ("s=eyJpZCI6MX0.aaaa.bbbb", "s=eyJpZCI6Mn0.aaaa.bbbb", ["header.set-cookie.s.value.id changed"]),
    ],
)
def test_cookies_are_compared_by_their_parts(native: str, legacy: str, found: list[str]) -> None:
    differences = differ(answer(1, set_cookie=native), answer(1, set_cookie=legacy))
    assert [f"{each.where} {each.change}" for each in differences] == found


@pytest.mark.parametrize("name", ["access_control_allow_origin", "content_security_policy", "x_frame_options"])
def test_headers_that_a_browser_goes_by_for_safety_are_compared(name: str) -> None:
    assert len(differ(answer(1), answer(1, **{name: "x"}))) == 1


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(_json, st.randoms())
def test_json_equals_itself_and_any_change_is_found(value: Any, chance: random.Random) -> None:
    assert differ(answer(json.dumps(value, indent=2)), answer(json.dumps(value, sort_keys=True))) == ()
    assert where({"x": value}, {"x": value, "y": 1}) == ["body.y missing"]
    if isinstance(value, list):
        mixed = chance.sample(value, len(value))
        assert where(mixed, value, unordered=("body",)) == []


@given(_json, _json)
def test_a_comparison_is_empty_exactly_when_the_values_are_the_same(native: Any, legacy: Any) -> None:
    same = json.dumps(native, sort_keys=True) == json.dumps(legacy, sort_keys=True)
    found = where(native, legacy)
    assert bool(found) is not same or _numbers_only(native, legacy)
    assert [each.partition(" ")[0] for each in found] == [each.partition(" ")[0] for each in where(legacy, native)]


def _numbers_only(native: Any, legacy: Any) -> bool:
    """1 and 1.0 are written differently and are the same."""
    return bool(native == legacy)


@given(st.lists(st.text(max_size=4) | st.integers(0, 9), max_size=5))
def test_a_written_path_is_a_rule_for_itself(steps: list[str | int]) -> None:
    path = ("body", *steps)
    assert Rules([written(path)]).name(path)
    assert Rules([pattern(path)]).name(path)
    assert Rules(["body"]).cover(path)


# HTML


def test_pages_are_the_same_apart_from_space_comments_and_the_order_of_attributes() -> None:
    native = "<html><body><p id=x class='a b'>Hi  there <b>x</b>\n you</p></body></html>"
    legacy = "<!doctype html>\n<html>\n<body>\n<p class='b a' id=x><!-- y -->Hi there<b>x</b> you</p>\n</body></html>\n"
    assert differ(answer(native, HTML), answer(legacy, HTML)) == ()


@pytest.mark.parametrize(
    ("native", "legacy", "found"),
    [
        ("<p>a</p>", "<p>b</p>", ["body.html.body[0].p[0].#text changed"]),
        ("<a href=/x>a</a>", "<a href=/y>a</a>", ["body.html.body[0].a[0].@href changed"]),
        ("<p>a</p><b>c</b>", "<p>a</p>", ["body.html.body[0].b extra", "body.html.body[0].#order changed"]),
        ("<p hidden>a</p>", "<p>a</p>", ["body.html.body[0].p[0].@hidden extra"]),
    ],
)
def test_pages_are_compared_as_text_and_structure(native: str, legacy: str, found: list[str]) -> None:
    assert [f"{each.where} {each.change}" for each in differ(answer(native, HTML), answer(legacy, HTML))] == found


def test_a_token_in_a_form_can_be_ignored() -> None:
    def page(token: str) -> Answer:
        return answer(f"<form><input name=q><input name=csrf value={token}></form>", HTML)

    assert differ(page("a"), page("b"), ignore=("body.html.body[*].form[*].input[1].@value",)) == ()


@pytest.mark.parametrize("body", ["", "   ", "<div>" * 5000, "\x00", "<!-- -->"])
def test_strange_pages_are_no_trouble(body: str) -> None:
    assert differ(answer(body, HTML), answer(body + "<p>x", HTML)) != ()


# Other bodies


def test_other_bodies_are_compared_byte_by_byte() -> None:
    assert differ(answer(b"\x00\x01", "image/png"), answer(b"\x00\x01", "image/png")) == ()
    [found] = differ(answer(b"\x00\x01", "image/png"), answer(b"\x00\x02\xff", "image/png"))
    assert (found.where, found.change, found.legacy) == ("body", "changed", "3 bytes, from 1: \x00\x02\ufffd")
    assert differ(answer(b"a", "text/plain"), answer(b"b", "text/plain"), ignore=("body",)) == ()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies_are_compared_as_what_they_hold(encoding: str) -> None:
    import zlib

    packed = gzip.compress(b'{"a": 1}') if encoding == "gzip" else zlib.compress(b'{"a": 1}')
    assert differ(answer(packed, content_encoding=encoding), answer({"a": 1})) == ()


def test_a_bomb_stays_packed() -> None:
    bomb = gzip.compress(b"0" * 30_000_000)
    with pytest.raises(TooLarge):
        differ(answer(bomb, content_encoding="gzip"), answer({"a": 1}))


@pytest.mark.parametrize(
    ("body", "encoding"), [(b"not packed", "gzip"), (gzip.compress(b"{}", mtime=0)[:-3], "gzip"), (b"x", "br")]
)
def test_what_can_not_be_unpacked_is_compared_as_it_is(body: bytes, encoding: str) -> None:
    assert differ(answer(body, content_encoding=encoding), answer(body, content_encoding=encoding)) == ()
    assert differ(answer(body, content_encoding=encoding), answer("{}")) != ()


# Grouping


def test_what_differs_alike_has_one_signature() -> None:
    one = differ(answer({"items": [{"a": 1}, {"a": 2}], "x": 1}), answer({"items": [{"a": 0}, {"a": 0}]}))
    other = differ(answer({"items": [{"a": 9}], "x": 5}), answer({"items": [{"a": 7}]}))
    assert signature(one) == signature(other) == "body.items[*].a changed; body.x extra"
