"""The figures of a running gateway, asked for over its own API."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from graft.errors import GraftError
from graft.figures.route_figures import RouteFigures
from graft.types import RouteKey

PATH = "/_graft/api/figures"
_SECONDS = 10.0


class GatewayFigures:
    """Statistics by ``GET /_graft/api/figures`` of the gateway at ``url``."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def figures(self, key: RouteKey) -> RouteFigures:
        """Raises GraftError when the gateway can't be asked, refuses, has no such route, or is something else."""
        try:
            return RouteFigures.of_data(self._fetch(key))
        except HTTPError as error:
            raise GraftError(f"{self._url} answered {error.code}. {_error_message(error)}") from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise GraftError(
                f"The gateway at {self._url} can't be asked for its figures: {reason}. Is it up?"
            ) from None
        except ValueError:
            raise GraftError(f"{self._url}{PATH} is not the API of a gateway of this version.") from None

    def _fetch(self, key: RouteKey) -> Any:
        if urlsplit(self._url).scheme not in ("http", "https"):
            raise GraftError(f"{self._url} is no address of a gateway. Write http://HOST:PORT.")
        url = f"{self._url}{PATH}?{urlencode({'route': str(key)})}"
        request = Request(url, headers={"Authorization": f"Bearer {self._token}"})
        with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as answer:
            return json.load(answer)


def _error_message(gateway: HTTPError) -> str:
    """What the gateway itself says, or a guess."""
    if gateway.code == 401:
        return "Is GRAFT_ADMIN_TOKEN the gateway's?"
    try:
        return str(json.load(gateway)["error"]["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return "Is it a Graft gateway of this version?"
