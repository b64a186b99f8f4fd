from tests.legacy_flask.portal import app, browser, built, data, reader

__all__ = ["app", "browser", "built", "data", "reader"]
