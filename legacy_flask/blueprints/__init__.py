"""One module a subject, each with its ``blueprint``."""

from legacy_flask.blueprints import api, auth, bookmarks, exports, health, pages, suggest, uploads

ALL = tuple(module.blueprint for module in (pages, auth, bookmarks, uploads, exports, api, suggest, health))
