from tests.embedded_elasticsearch.conftest import client

__all__ = ["client"]
