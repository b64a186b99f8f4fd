from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, BadRequestError, ConnectionError, ConnectionTimeout

from graft.errors import ServerMismatch, SettingError
from graft.search.client import addresses, explain, open_client, probe, reason
from graft.settings import Settings
from tests.parts import free_port
from tests.search.servers import Answer, elasticsearch, serving


def client_of(*hosts: str, **settings: Any) -> AsyncElasticsearch:
    return open_client(Settings.load(elasticsearch_url=hosts, **settings))


async def failure_of(client: AsyncElasticsearch) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  what it is, is for the caller to look at
        await client.search(index="docs")
    return caught.value


async def test_nothing_is_opened_before_the_first_request(tmp_path: Path) -> None:
    async with open_client(Settings.load(elasticsearch_url=(), data=tmp_path / "data")) as client:
        assert type(client) is AsyncElasticsearch
        assert not (tmp_path / "data").exists()
        await client.index(index="docs", document={})
        assert (tmp_path / "data" / "search.sqlite3").exists()


async def test_a_server_that_is_down_answers_quickly_and_is_found_again_when_it_is_back() -> None:
    port = free_port()
    async with client_of(f"http://127.0.0.1:{port}") as client:
        started = time.monotonic()
        error = await failure_of(client)
        assert time.monotonic() - started < 1
        assert isinstance(error, ConnectionError)
        told = await probe(client)
        assert told is not None
        assert f"http://127.0.0.1:{port} can't be reached" in told
        async with serving(elasticsearch(), port):
            assert await probe(client) is None


async def test_a_server_that_hangs_holds_a_search_for_less_than_three_seconds() -> None:
    async with serving(None) as url, client_of(url) as client:
        started = time.monotonic()
        error = await failure_of(client)
        assert time.monotonic() - started < 3
        assert isinstance(error, ConnectionTimeout)
        problem = explain(error)
        assert problem is not None
        assert (problem.status, problem.code) == (503, "search_unavailable")


async def test_of_two_hosts_one_may_be_down() -> None:
    answers = {**elasticsearch(), "/docs/_search": Answer(body={"hits": {}})}
    async with serving(answers) as url, client_of(f"http://127.0.0.1:{free_port()}", url) as client:
        for _ in range(3):
            assert (await client.search(index="docs"))["hits"] == {}


async def test_of_two_hosts_one_may_hang_and_what_writes_is_not_sent_twice() -> None:
    answers = {**elasticsearch(), "*": Answer(body={"hits": {}})}
    async with serving(None) as hangs, serving(answers) as url, client_of(hangs, url) as client:
        quick = client.options(request_timeout=0.5)
        for _ in range(4):  # whichever of the two is asked first
            assert (await quick.search(index="docs"))["hits"] == {}
        assert len(client.transport.node_pool._dead_nodes.queue) == 1
    async with serving(None) as hangs, serving(None) as other, client_of(hangs, other) as client:
        with pytest.raises(ConnectionTimeout) as caught:
            await client.options(request_timeout=0.5).index(index="docs", document={})
        assert caught.value.errors == ()
        assert len(client.transport.node_pool._dead_nodes.queue) == 1


FOREIGN = {"*": Answer(body={"hello": "world"}, headers={})}
OLD_HEALTH = {"error": {"type": "media_type_header_exception", "reason": "Accept version must be 7"}}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (elasticsearch("8.0.0"), None),
        (elasticsearch("9.2.1"), None),
        (elasticsearch(health={"status": "yellow"}), None),
        (elasticsearch("7.17.3"), "is version 7.17.3, supported are 8 and 9"),
        (elasticsearch("10.0.0"), "is version 10.0.0, supported are 8 and 9"),
        (elasticsearch(health={"status": "red"}), "is red"),
        (FOREIGN, "is not Elasticsearch"),
        ({"*": Answer(404, "<html>", {}, "text/html")}, "is not Elasticsearch (status 404)"),
        ({"*": Answer(200, "<html>", {}, "text/html")}, "is not Elasticsearch"),
        ({"*": Answer(200, "{garbage")}, "is not Elasticsearch"),
        ({"*": Answer(502, "Bad gateway", {}, "text/plain")}, "answers with status 502: Bad gateway"),
        ({"*": Answer(401, {"error": "no"})}, "refuses the credentials (status 401); check ELASTICSEARCH_API_KEY"),
        ({"*": Answer(400, OLD_HEALTH)}, "is too old, supported are 8 and 9"),
        # A user who may search, but neither look at the node nor at the cluster.
        ({"*": Answer(403, {"error": "no"})}, None),
        # A server without GET /, as the one of the contract tests.
        (
            {
                "/": Answer(405, {"error": "no"}),
                "/_nodes/_local": Answer(body={"nodes": {"a": {"version": "7.1.0"}}}),
                "*": Answer(body={"status": "green"}),
            },
            "is version 7.1.0",
        ),
        ({"/": Answer(405, {}), "/_nodes/_local": Answer(body={"nodes": {}}), "*": Answer(body={})}, None),
        ({"/": Answer(405, {}), "/_nodes/_local": Answer(403, {}), "*": Answer(503, {"status": "red"})}, "status 503"),
    ],
)
async def test_the_probe_says_in_one_line_what_is_wrong(answers: dict[str, Answer], told: str | None) -> None:
    async with serving(answers) as url, client_of(url) as client:
        found = await probe(client)
        if told is None:
            assert found is None
        else:
            assert found is not None
            assert told in found
            assert url in found
            assert "\n" not in found


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(503, {"error": {"type": "x", "reason": "no shards"}}), "search_unavailable"),
        (Answer(429, {"error": "busy"}), "search_unavailable"),
        (Answer(401, {"error": "who"}), "search_unavailable"),
        (Answer(200, "{garbage"), "search_unavailable"),
        (Answer(200, {}, {}), "search_mismatch"),
        (Answer(404, {"detail": "?"}, {}), "search_mismatch"),
        (Answer(400, OLD_HEALTH), "search_mismatch"),
        (Answer(404, {"error": {"type": "index_not_found_exception"}}), "search_not_ready"),
        (Answer(404, {"error": {"type": "other"}}), None),
        (Answer(400, {"error": {"type": "parsing_exception"}}), None),
    ],
)
async def test_a_failed_search_is_explained_to_the_user(answer: Answer, code: str | None) -> None:
    async with serving({"*": answer}) as url, client_of(url) as client:
        problem = explain(await failure_of(client))
    assert (problem and problem.code) == code
    assert problem is None or problem.status == 503


async def test_faults_that_are_not_the_servers_are_not_explained() -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(Exception, match="Unable to serialize") as caught:
            await client.index(index="docs", document={"a": object()})
    assert explain(caught.value) is None
    assert explain(ValueError("x")) is None
    mismatch = explain(ServerMismatch("x"))
    assert mismatch is not None
    assert mismatch.code == "search_mismatch"


async def test_an_unbuilt_embedded_index_says_how_to_build_it(tmp_path: Path) -> None:
    async with open_client(Settings.load(elasticsearch_url=(), data=tmp_path)) as client:
        problem = explain(await failure_of(client))
        assert problem is not None
        assert (problem.code, "graft index" in problem.message) == ("search_not_ready", True)
        assert addresses(client) == str(tmp_path / "search.sqlite3")


async def test_secrets_are_in_no_message() -> None:
    async with serving({"*": Answer(401, {"error": "no"})}) as url:
        host = url.replace("http://", "http://elastic:hunter2@")
        async with client_of(host) as client:
            told = [str(await probe(client)), reason(await failure_of(client), client), addresses(client)]
    async with client_of(url, elasticsearch_username="elastic", elasticsearch_password="hunter2") as client:
        told.append(reason(await failure_of(client), client))
    assert not [text for text in told if "hunter2" in text or "elastic:" in text]


async def test_credentials_are_sent() -> None:
    answers = {**elasticsearch(), "*": Answer(body={})}
    async with serving(answers) as url, client_of(url, elasticsearch_api_key="a-key") as client:
        assert client.transport.node_pool.get() is not None
        assert client._headers["authorization"] == "ApiKey a-key"
        assert await probe(client) is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"elasticsearch_api_key": "k", "elasticsearch_username": "u"}, "ELASTICSEARCH_API_KEY: set together"),
        ({"elasticsearch_username": "u"}, "ELASTICSEARCH_USERNAME: set alone. Set ELASTICSEARCH_PASSWORD"),
        ({"elasticsearch_password": "p"}, "ELASTICSEARCH_PASSWORD: set alone. Set ELASTICSEARCH_USERNAME"),
        ({"elasticsearch_ca_certs": Path("/nowhere.pem")}, "ELASTICSEARCH_CA_CERTS: found '/nowhere.pem'"),
        ({"elasticsearch_ca_certs": Path(__file__)}, "ELASTICSEARCH_CA_CERTS: set, but ELASTICSEARCH_URL is not https"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError) as caught:
        client_of("http://127.0.0.1:9200", **settings)
    assert told in str(caught.value)


def test_an_address_that_is_none_is_named_without_its_password() -> None:
    with pytest.raises(SettingError, match="ELASTICSEARCH_URL") as caught:
        client_of("http://user:hunter2@host:port")
    assert "hunter2" not in str(caught.value)


async def test_certificates_are_passed_on() -> None:
    import certifi

    async with client_of("https://127.0.0.1:1", elasticsearch_ca_certs=Path(certifi.where())) as client:
        assert client.transport.node_pool.get().config.ca_certs == certifi.where()


async def test_a_request_that_is_wrong_stays_an_error_of_the_caller(tmp_path: Path) -> None:
    async with open_client(Settings.load(elasticsearch_url=(), data=tmp_path)) as client:
        await client.indices.create(index="docs")
        with pytest.raises(BadRequestError) as caught:
            await client.search(index="docs", query={"nope": {}})
        assert explain(caught.value) is None
        assert "unknown query [nope]" in reason(caught.value, client)
        assert reason(ValueError("x\ny"), client) == "x y"
