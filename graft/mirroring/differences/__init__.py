"""Differences: what two answers differed in, kept without its secrets, the newest 100 of each route,
for GRAFT_DIFFERENCES_DAYS at most.

document.py         one difference as it is kept: redacted, long texts cut
store.py            the interface of the two places in which differences are kept
sqlite.py           a file in GRAFT_DATA, for all workers of one host: the default
elasticsearch.py    an index, for all hosts: where ELASTICSEARCH_URL is set
writer.py           takes differences in while requests run, and writes them in batches
report.py           what is kept, grouped, for ``graft differences``, the API and the dashboard
"""

from __future__ import annotations

from elasticsearch import AsyncElasticsearch

from graft.mirroring.differences.document import Origin, Redaction
from graft.mirroring.differences.elasticsearch import ElasticsearchStore
from graft.mirroring.differences.report import Group, Report, read_report
from graft.mirroring.differences.sqlite import SqliteStore
from graft.mirroring.differences.store import DifferenceStore
from graft.mirroring.differences.writer import DifferenceWriter
from graft.mirroring.redaction_key import redaction_key
from graft.settings import DifferencesKept, Settings

__all__ = [
    "DifferenceStore",
    "DifferenceWriter",
    "Group",
    "Origin",
    "Report",
    "difference_store",
    "read_report",
    "redaction_of",
]

FILE = "differences.sqlite3"


def difference_store(settings: Settings, client: AsyncElasticsearch) -> DifferenceStore:
    """Where these settings keep differences. Opens nothing; ``client`` is used if it is one of a configured server."""
    days = settings.differences_days
    if settings.elasticsearch_url:
        return ElasticsearchStore(client, days=days)
    return SqliteStore(settings.data / FILE, days=days)


def redaction_of(settings: Settings) -> Redaction:
    """What these settings let a difference keep. Reads the gateway's key, or makes it: not on the loop's time."""
    return Redaction(redaction_key(settings.data), settings.differences is DifferencesKept.SHAPE)
