"""``python -m graft.cli.plain``: the legacy app alone, on Werkzeug's server: the last resort, without uvicorn."""

from __future__ import annotations

from werkzeug.serving import run_simple

from graft.legacy.loading import load
from graft.settings import Settings

__all__ = ["main"]


def main() -> None:
    settings = Settings.load()
    run_simple(settings.host, settings.port, load(settings.legacy), threaded=True)


if __name__ == "__main__":
    from graft.cli.serve import guard

    with guard(__name__):
        main()
