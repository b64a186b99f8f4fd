"""Graft moves a Flask app to async one route at a time, in one process, with proof at each step."""

__version__ = "0.1.0"
