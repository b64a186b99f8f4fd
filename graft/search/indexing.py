"""Building the indices that native modules declare.

A module says ``indexes = [Index("articles", mappings, documents)]``. The documents go into a new physical index,
``articles-<fingerprint>``; when all of them are in, the alias ``articles`` moves to it in one step, so searches see
the old documents or the new ones and never half of them.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError
from elasticsearch.helpers import async_streaming_bulk

from graft.errors import NativeRoutesError, SearchError

Document = tuple[str, dict[str, Any]]
Progress = Callable[[int, int | None], None]

BULK_SECONDS = 60.0  # a bulk request may take longer than a search
CHUNK = 500  # documents in one bulk request
CHUNK_BYTES = 5 * 1024 * 1024
_META = "graft"  # the key in the mapping's _meta that is ours


@dataclass(frozen=True)
class Index:
    """An index that a native module wants: ``documents()`` gives (id, source) pairs, the same ones each time.

    ``fingerprint`` may give a cheap text that changes whenever the documents do; without it they are all read and
    hashed to find out whether anything changed.
    """

    name: str
    mappings: dict[str, Any]
    documents: Callable[[], Iterable[Document]]
    settings: dict[str, Any] = field(default_factory=dict)
    fingerprint: Callable[[], str] | None = None


@dataclass(frozen=True)
class BuildReport:
    """``index`` is the physical index behind the alias ``name``; ``changed`` is False when it was there already."""

    name: str
    index: str
    documents: int
    changed: bool
    seconds: float


def discover(package: str) -> list[Index]:
    """The indices of all modules of this package, by name.

    Raises NativeRoutesError when a module can't be imported, declares something else, or two claim one name.
    """
    found: dict[str, tuple[str, Index]] = {}
    for module_name, declared in _declarations(package):
        for index in declared:
            if not isinstance(index, Index):
                raise _wrong(f"{module_name}.indexes has {index!r}", "Put graft.search.indexing.Index objects there.")
            if index.name in found:
                both = f"{found[index.name][0]} and {module_name} both declare the index {index.name!r}"
                raise _wrong(both, "Rename one of them.")
            found[index.name] = (module_name, index)
    return [index for _, (_, index) in sorted(found.items())]


def _declarations(package: str) -> Iterator[tuple[str, list[Any]]]:
    for name in [package, *_modules_of(package)]:
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise _wrong(f"{name} can't be imported: {type(error).__name__}: {error}", "Mend that module.") from error
        declared = getattr(module, "indexes", [])
        if not isinstance(declared, (list, tuple)):
            raise _wrong(f"{name}.indexes is {declared!r}", "Make it a list.")
        yield name, list(declared)


def _modules_of(package: str) -> list[str]:
    try:
        path = getattr(importlib.import_module(package), "__path__", [])
    except Exception as error:
        raise _wrong(f"{package} can't be imported: {type(error).__name__}: {error}", "Mend that module.") from error
    return sorted(f"{package}.{module.name}" for module in pkgutil.iter_modules(path))


def _wrong(found: str, mend: str) -> NativeRoutesError:
    return NativeRoutesError("GRAFT_NATIVE", found, mend)


async def build(
    client: AsyncElasticsearch, index: Index, progress: Progress | None = None, force: bool = False
) -> BuildReport:
    """Bring the alias ``index.name`` to the declared documents, if it is not there already or ``force`` says so.

    Safe to run again, to run twice at once, and to be cut off at any moment. ``progress(done, total)`` is called as
    documents go in. Raises SearchError when documents are refused, and what the client raises.
    """
    return await _Build(client.options(request_timeout=BULK_SECONDS), index, progress or _no_progress).run(force)


def _no_progress(done: int, total: int | None) -> None:
    pass


class _Build:
    """One run. The physical index bears the fingerprint, so two runs for the same documents fill the same index."""

    def __init__(self, client: AsyncElasticsearch, index: Index, progress: Progress) -> None:
        self._client = client
        self._index = index
        self._progress = progress
        self._started = time.monotonic()

    async def run(self, force: bool) -> BuildReport:
        fingerprint, total = _fingerprint(self._index)
        live = await self._live()
        if not force and len(live) == 1 and await self._is_current(live[0], fingerprint):
            count = (await self._client.count(index=live[0]))["count"]
            return self._report(live[0], count, changed=False)
        physical = f"{self._index.name}-{fingerprint[:12]}"
        if force:
            physical += f"-{time.time_ns() // 1_000_000}"
        await self._create(physical, fingerprint)
        count = await self._load(physical, total)
        await self._swap(physical)
        await self._clean(physical)
        return self._report(physical, count, changed=True)

    def _report(self, physical: str, documents: int, changed: bool) -> BuildReport:
        return BuildReport(self._index.name, physical, documents, changed, time.monotonic() - self._started)

    async def _live(self) -> list[str]:
        """The physical indices that the alias points to now."""
        try:
            return sorted((await self._client.indices.get_alias(name=self._index.name)).body)
        except NotFoundError:
            pass
        if await self._client.indices.exists(index=self._index.name):
            raise SearchError(
                f"There is an index named {self._index.name} that Graft did not build. Delete it, or rename yours."
            )
        return []

    async def _is_current(self, physical: str, fingerprint: str) -> bool:
        mappings = (await self._client.indices.get_mapping(index=physical)).body[physical]["mappings"]
        return bool(mappings.get("_meta", {}).get(_META, {}).get("fingerprint") == fingerprint)

    async def _create(self, physical: str, fingerprint: str) -> None:
        meta = {**self._index.mappings.get("_meta", {}), _META: {"index": self._index.name, "fingerprint": fingerprint}}
        try:
            await self._client.indices.create(
                index=physical,
                mappings={**self._index.mappings, "_meta": meta},
                # A replica where there is a second node for it, and no yellow cluster where there is none.
                settings={"auto_expand_replicas": "0-1", **self._index.settings},
                aliases={_loading(physical): {}},
            )
        except BadRequestError as error:
            if _type(error) != "resource_already_exists_exception":
                raise
            # Another run is filling it, or one was cut off: the same documents under the same ids, so go on.

    async def _load(self, physical: str, total: int | None) -> int:
        """Index all documents; their number. The loading alias keeps a bulk request from making an index itself."""
        ids: set[str] = set()
        refused: list[tuple[str, str]] = []
        self._progress(0, total)
        done = 0
        async for accepted, item in async_streaming_bulk(
            self._client,
            self._actions(physical, ids),
            chunk_size=CHUNK,
            max_chunk_bytes=CHUNK_BYTES,
            raise_on_error=False,
            max_retries=3,
            initial_backoff=0.5,
            require_alias=True,
        ):
            done += 1
            self._progress(done, total)
            if not accepted:
                refused.append(_refusal(item))
        if refused:
            raise SearchError(
                f"{len(refused)} of {done} documents were refused, {refused[0][0]!r} first: {refused[0][1]}"
            )
        await self._check_count(physical, len(ids))
        return len(ids)

    async def _actions(self, physical: str, ids: set[str]) -> AsyncIterator[dict[str, Any]]:
        for doc_id, source in self._index.documents():
            ids.add(doc_id)
            yield {"_op_type": "index", "_index": _loading(physical), "_id": doc_id, "_source": source}

    async def _check_count(self, physical: str, expected: int) -> None:
        await self._client.indices.refresh(index=physical)
        found = (await self._client.count(index=physical))["count"]
        if found != expected:
            raise SearchError(f"{physical} has {found} documents in place of {expected}. Run graft index again.")

    async def _swap(self, physical: str) -> None:
        actions: list[dict[str, Any]] = [{"add": {"index": physical, "alias": self._index.name}}]
        for old in await self._live():
            if old != physical:
                actions.append({"remove": {"index": old, "alias": self._index.name, "must_exist": False}})
        try:
            await self._client.indices.update_aliases(actions=actions)
        except NotFoundError:
            # Another run moved the alias and removed the old index between the two requests.
            await self._client.indices.update_aliases(actions=actions[:1])

    async def _clean(self, physical: str) -> None:
        """Remove what earlier runs left: indices of ours that the alias does not point to."""
        ours = re.compile(re.escape(self._index.name) + r"-[0-9a-f]{12}(-\d+)?")
        found = (await self._client.indices.get(index=f"{self._index.name}-*")).body
        for name, entry in found.items():
            meta = entry["mappings"].get("_meta", {}).get(_META, {})
            if name != physical and ours.fullmatch(name) and meta.get("index") == self._index.name:
                await self._client.indices.delete(index=name, ignore_unavailable=True)


def _loading(physical: str) -> str:
    """The alias that exists as long as the physical index does."""
    return f"{physical}.loading"


def _fingerprint(index: Index) -> tuple[str, int | None]:
    """Of mappings, settings and documents; and how many documents there are, where they had to be read for it."""
    digest = hashlib.sha256(_canonical([index.mappings, index.settings]))
    if index.fingerprint is not None:
        digest.update(index.fingerprint().encode())
        return digest.hexdigest(), None
    total = 0
    for doc_id, source in index.documents():
        digest.update(_canonical([doc_id, source]))
        total += 1
    return digest.hexdigest(), total


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _refusal(item: dict[str, Any]) -> tuple[str, str]:
    (answer,) = item.values()
    error = answer.get("error", {})
    return str(answer.get("_id")), str(error.get("reason", error) if isinstance(error, dict) else error)


def _type(error: ApiError) -> str | None:
    body = error.body
    return body.get("error", {}).get("type") if isinstance(body, dict) and isinstance(body["error"], dict) else None
