"""An Elasticsearch inside the process: the same client, no server. README.md says what it speaks.

    node.py             the elastic_transport node: threads, timeouts, bytes in and out; ``connect``
    endpoints.py        method and path -> endpoint; request.py: what an endpoint gets and answers
    index_api.py, alias_api.py, document_api.py, bulk_api.py, search_api.py     the endpoints
    index_names.py      which indices an expression like ``a,b*`` means
    query.py            the query language into SQL, over sql_builder.py; query_options.py: its options
    search_request.py   a search request; sorting.py, sources.py, highlight.py: its parts
    aggregations.py     aggregations, over buckets.py and date_histogram.py
    writer.py           documents with versions and conflicts; documents.py: how they lie in the tables
    mapping.py, document_parser.py, dates.py, analysis.py     fields, values, words
    store.py            indices and their tables; database.py the SQLite file

What it does not know it refuses with Elasticsearch's own 400, and names it.
"""

from embedded_elasticsearch.node import EmbeddedNode, connect

__all__ = ["EmbeddedNode", "connect"]
