"""The one Elasticsearch client of a process, whether a server answers it or the engine inside the process.

``open_client`` builds it, ``probe`` says why search is not ready, ``explain`` turns an exception into the error that a
native route answers with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    Elasticsearch,
    SerializationError,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch.serializer import OrjsonSerializer

from embedded_elasticsearch import EmbeddedNode, connect
from graft.chance import nothing_drawn
from graft.errors import ServerMismatch, SettingError
from graft.search.metrics import counted
from graft.settings import Settings

REQUEST_SECONDS = 2.5  # a node that hangs must not hold a request longer; indexing asks for more by itself
PROBE_SECONDS = 2.0  # readiness probes of Kubernetes and of load balancers give up sooner than users
CONNECTIONS = 64  # per node and process: the default of 10 would make the eleventh search wait
MAJOR_VERSIONS = (8, 9)
FILE = "search.sqlite3"  # of the embedded engine, in GRAFT_DATA

Client = AsyncElasticsearch | Elasticsearch


def open_client(settings: Settings) -> AsyncElasticsearch:
    """The client that the settings ask for. Nothing is connected or opened before the first request.

    Raises SettingError when the settings contradict each other.
    """
    with nothing_drawn():  # the client shuffles its hosts
        return counted(_client(settings))


def _client(settings: Settings) -> AsyncElasticsearch:
    if not settings.elasticsearch_url:
        return connect(settings.data / FILE, request_timeout=REQUEST_SECONDS)
    hosts = list(settings.elasticsearch_url)
    try:
        return AsyncElasticsearch(
            hosts,
            request_timeout=REQUEST_SECONDS,
            connections_per_node=CONNECTIONS,
            # A kept connection that the server has just closed fails once; other hosts are worth one try each.
            max_retries=max(1, len(hosts) - 1),
            retry_on_timeout=False,  # what reads is asked of one more: second_try.py
            retry_on_status=(502, 503, 504),
            serializers={OrjsonSerializer.mimetype: OrjsonSerializer()},  # twice as quick as the standard library
            **credentials(settings),
            **tls(settings),
        )
    except ValueError as error:
        found = f"found {', '.join(hosts)}, {error}"
        raise SettingError("ELASTICSEARCH_URL", _USER.sub("//", found), "Write https://HOST:PORT.") from None


def credentials(settings: Settings) -> dict[str, Any]:
    """Options of a client. Raises SettingError."""
    key, user, password = (
        settings.elasticsearch_api_key,
        settings.elasticsearch_username,
        settings.elasticsearch_password,
    )
    if key is not None and (user is not None or password is not None):
        mend = "Keep one of the two and unset the other."
        raise SettingError("ELASTICSEARCH_API_KEY", "set together with a user name or password", mend)
    if (user is None) != (password is None):
        name, other = ("USERNAME", "PASSWORD") if password is None else ("PASSWORD", "USERNAME")
        raise SettingError(f"ELASTICSEARCH_{name}", "set alone", f"Set ELASTICSEARCH_{other} as well.")
    if key is not None:
        return {"api_key": key.get_secret_value()}
    if user is not None and password is not None:
        return {"basic_auth": (user, password.get_secret_value())}
    return {}


def tls(settings: Settings) -> dict[str, Any]:
    """Likewise."""
    path = settings.elasticsearch_ca_certs
    if path is None:
        return {}
    if not path.exists():
        raise SettingError("ELASTICSEARCH_CA_CERTS", f"found {str(path)!r}, which does not exist", "Name a PEM file.")
    if not all(host.startswith("https://") for host in settings.elasticsearch_url):
        mend = "Write https:// in ELASTICSEARCH_URL, or unset this."
        raise SettingError("ELASTICSEARCH_CA_CERTS", "set, but ELASTICSEARCH_URL is not https", mend)
    return {"ca_certs": str(path)}


_USER = re.compile(r"//[^@\s]*@")  # the credentials that may stand in an address


# What went wrong, for a person who runs the server


async def probe(client: AsyncElasticsearch) -> str | None:
    """None when searches can be answered, else the reason in one line: unreachable, refused, red, of another kind."""
    patient = client.options(request_timeout=PROBE_SECONDS, max_retries=0)
    try:
        return await _version_fault(patient) or await _health_fault(patient)
    except (ApiError, TransportError) as error:
        return reason(error, client)


async def _version_fault(client: AsyncElasticsearch) -> str | None:
    # "*/*": a server of another major version must answer as well, not complain about the media type.
    try:
        answer = await client.perform_request("GET", "/", headers={"accept": "*/*"})
        number = _at(answer.body, "version", "number")
    except UnsupportedProductError as error:
        raise error from None
    except ApiError as error:
        if error.status_code in (401,) or not _is_elasticsearch(error):
            raise
        number = await _node_version(client)
    major = str(number).partition(".")[0]
    if number is None or (major.isdigit() and int(major) in MAJOR_VERSIONS):
        return None
    return f"Elasticsearch at {addresses(client)} is version {number}, supported are {_supported()}"


async def _node_version(client: AsyncElasticsearch) -> str | None:
    """For a server without ``GET /``, or a user who may not ask it; None when it won't tell."""
    try:
        answer = await client.perform_request("GET", "/_nodes/_local", headers={"accept": "*/*"})
    except ApiError:
        return None
    nodes = _at(answer.body, "nodes")
    versions = [_at(node, "version") for node in nodes.values()] if isinstance(nodes, dict) else []
    return versions[0] if versions else None


async def _health_fault(client: AsyncElasticsearch) -> str | None:
    try:
        answer = await client.perform_request("GET", "/_cluster/health", headers={"accept": "*/*"})
    except ApiError as error:
        if error.status_code == 403:  # a user who may search but not look at the cluster
            return None
        raise
    if _at(answer.body, "status") == "red":
        return f"Elasticsearch at {addresses(client)} is red: some of its data is not available"
    return None


def reason(error: Exception, client: Client) -> str:
    """What an exception of this client means, in one line with the address and without any secret."""
    where = f"Elasticsearch at {addresses(client)}"
    if isinstance(error, (UnsupportedProductError, SerializationError)):
        return f"{addresses(client)} is not Elasticsearch"
    if isinstance(error, ApiError):
        return _api_reason(error, where, client)
    if isinstance(error, TransportError):
        cause = error.errors[0] if error.errors else error
        return f"{where} can't be reached: {_one_line(str(cause) or type(cause).__name__)}"
    return _one_line(str(error))


def _api_reason(error: ApiError, where: str, client: Client) -> str:
    if _at(error.body, "error", "type") == "cluster_block_exception":  # a full disk, an index made read-only, no master
        return f"{where} takes no request of this kind now: {_one_line(str(_at(error.body, 'error', 'reason')))}"
    if error.status_code in (401, 403):
        mend = "check ELASTICSEARCH_API_KEY or ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD"
        return f"{where} refuses the credentials (status {error.status_code}); {mend}"
    if _is_old(error):
        return f"{where} is too old, supported are {_supported()}"
    if not _is_elasticsearch(error) and error.status_code < 500:
        return f"{addresses(client)} is not Elasticsearch (status {error.status_code})"
    message = _at(error.body, "error", "reason") or error.message
    return f"{where} answers with status {error.status_code}: {_one_line(str(message))}"


def addresses(client: Client) -> str:
    """Where the client looks, without credentials; the file's path for the embedded engine."""
    return ", ".join(
        node.location if isinstance(node, EmbeddedNode) else node.base_url for node in client.transport.node_pool.all()
    )


def _supported() -> str:
    return " and ".join(str(major) for major in MAJOR_VERSIONS)


def _is_elasticsearch(error: ApiError) -> bool:
    return error.meta.headers.get("x-elastic-product") == "Elasticsearch"


def _is_old(error: ApiError) -> bool:
    """Version 7 does not know the media type of version 8."""
    return error.status_code in (400, 406) and _at(error.body, "error", "type") == "media_type_header_exception"


def _at(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


# What went wrong, for a person who searches


@dataclass(frozen=True)
class Problem:
    """The error that a native route answers with."""

    status: int
    code: str
    message: str


_UNAVAILABLE = Problem(503, "search_unavailable", "Search is not available right now. Please try again in a moment.")
_MISMATCH = Problem(503, "search_mismatch", "The search server is no Elasticsearch that this service can speak to.")
_NOT_READY = Problem(503, "search_not_ready", "The search index has not been built yet. Run: graft index")


def explain(error: Exception) -> Problem | None:
    """The problem behind an exception of the client; None when it is no fault of the server but of the request."""
    if isinstance(error, (UnsupportedProductError, ServerMismatch)):
        return _MISMATCH
    if isinstance(error, ApiError):
        return _explain_answer(error)
    if isinstance(error, SerializationError) and "Unable to serialize" in str(error):
        return None
    return _UNAVAILABLE if isinstance(error, TransportError) else None


def _explain_answer(error: ApiError) -> Problem | None:
    if error.status_code == 404 and _at(error.body, "error", "type") == "index_not_found_exception":
        return _NOT_READY
    if _is_old(error):
        return _MISMATCH
    if error.status_code in (401, 403, 429) or error.status_code >= 500:
        return _UNAVAILABLE
    return None if _is_elasticsearch(error) else _MISMATCH
