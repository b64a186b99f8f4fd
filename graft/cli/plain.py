"""``python -m graft.cli.plain HOST PORT``: the legacy app alone, on Werkzeug's server. For want of uvicorn."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from werkzeug.serving import run_simple

from graft.errors import GraftError
from graft.flaskside.loading import load
from graft.printable import printable
from graft.settings import Settings

__all__ = ["main"]


def main(arguments: Sequence[str] = ()) -> None:
    """Serve it. A setting that is wrong is one line and exit code 2."""
    try:
        settings = Settings.load(**dict(zip(("host", "port"), arguments, strict=False)))
        app = load(settings.legacy)
    except GraftError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    run_simple(settings.host, settings.port, app, threaded=True)


if __name__ == "__main__":
    main(sys.argv[1:])
