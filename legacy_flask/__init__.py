"""Folio, a documentation portal: the Flask app that ships as the example.

Written as a Flask team would have written it in 2019, and it runs alone::

    flask --app legacy_flask build-catalogue
    flask --app legacy_flask run
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The portal as a WSGI app. ``config`` win over the environment; see settings.py for the names.

    Makes the data folder and the tables where they are missing. Raises settings.DataFolderError when it can't.
    """
    # Imported here, so that ``python -m legacy_flask.catalogue`` does not meet itself half imported.
    from legacy_flask import blueprints, catalogue, database, errors, filters, hooks, security, settings

    app = Flask(__name__)
    settings.configure(app, config)
    database.init_app(app)
    hooks.init_app(app)  # first, so that the user is known when a later check refuses and shows a page
    security.init_app(app)
    filters.init_app(app)
    errors.init_app(app)
    for blueprint in blueprints.ALL:
        app.register_blueprint(blueprint)
    app.cli.add_command(catalogue.build_catalogue)
    return app
