"""A search on Elasticsearch, native and in Flask: the same question, the same answer."""
