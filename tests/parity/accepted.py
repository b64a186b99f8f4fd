"""The tests of Flask's and Werkzeug's own suites that pass as they are and not through the mount, with the reasons."""

from __future__ import annotations

_NOT_BYTES = "its app yields text, which PEP 3333 forbids: Gunicorn fails, too, and the mount answers 500"

ACCEPTED: dict[str, dict[str, str]] = {
    "flask": {},
    "werkzeug": {
        "tests.middleware.test_lint::test_lint_middleware_check_environ"
        "[wsgi.version-value0-Environ is not a WSGI 1.0 environ.]": (
            "wsgi.version is the server's, whatever a client says"
        ),
        "tests.middleware.test_lint::test_lint_middleware_invalid_status": "no server can send the status 20",
        "tests.test_test::test_path_info_script_name_unquoting": _NOT_BYTES,
        "tests.test_test::test_raw_request_uri": "ASGI has no difference between an empty query (/path?) and none",
        "tests.test_utils::test_append_slash_redirect[True-foo-http://example.org/app-http://example.org/app/foo/]": (
            "a path without its first slash can not be sent"
        ),
        "tests.test_wrappers::test_base_response": _NOT_BYTES,
        "tests.test_wsgi::test_closing_iterator": _NOT_BYTES,
    },
}
"""By suite and test, as in ``"tests.test_basic::test_session": "why"``. None of Flask 3.1.3's 489 is lost."""
