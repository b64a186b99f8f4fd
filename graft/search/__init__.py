"""Elasticsearch: one client for a real server and for the engine inside the process."""
