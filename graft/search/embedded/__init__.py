"""An Elasticsearch inside the process: the same client, no server.

    node.py         the elastic_transport node: threads, timeouts, bytes in and out
    api.py          method and path -> endpoint
    admin.py, records.py, searching.py      the endpoints
    query.py        the query language into SQL; minimum.py, sorting.py, sources.py, highlight.py, aggregations.py
    mapping.py, documents.py, dates.py, analysis.py     fields, values, words
    store.py        tables; database.py the SQLite file

What it does not know it refuses with Elasticsearch's own 400, and names it.
"""

from graft.search.embedded.node import EmbeddedNode, node_config

__all__ = ["EmbeddedNode", "node_config"]
