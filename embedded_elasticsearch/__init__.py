"""An Elasticsearch inside the process: the same client, no server.

    node.py         the elastic_transport node: threads, timeouts, bytes in and out
    api.py          method and path -> endpoint
    admin.py, aliases.py, records.py, bulk.py, searching.py     the endpoints; names.py: which indices are meant
    query.py        the query language into SQL, over plan.py; options.py, minimum.py: its options
    wanted.py       a search request; sorting.py, sources.py, highlight.py, aggregations.py: its parts
    writing.py      documents with versions and conflicts
    mapping.py, documents.py, dates.py, analysis.py     fields, values, words
    store.py        tables; database.py the SQLite file

What it does not know it refuses with Elasticsearch's own 400, and names it.
"""

from embedded_elasticsearch.node import EmbeddedNode, connect

__all__ = ["EmbeddedNode", "connect"]
