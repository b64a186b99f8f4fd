"""The native routes of the example: plain Starlette, one module a subject, each with ``routes``; one in FastAPI.

They find their Elasticsearch client, an ``AsyncElasticsearch``, in ``request.state.elasticsearch``.
"""
