"""The figures of a running gateway, asked for over its own API."""

from __future__ import annotations

from urllib.parse import urlencode

from graft.errors import GraftError
from graft.figures.route_figures import RouteFigures
from graft.gateways.client import GatewayClient
from graft.types import RouteKey

PATH = "/_graft/api/figures"


class GatewayFigures:
    """Statistics by ``GET /_graft/api/figures`` of the gateway at ``address``, ``http://host:port`` or ``unix:/path``.
    Raises GraftError for what is no address."""

    def __init__(self, address: str, token: str) -> None:
        self._client = GatewayClient(address, token)

    def figures(self, key: RouteKey) -> RouteFigures:
        """Raises GraftError when the gateway can't be asked, refuses, has no such route, or is something else."""
        data = self._client.get(f"{PATH}?{urlencode({'route': str(key)})}")
        try:
            return RouteFigures.of_data(data)
        except ValueError:
            raise GraftError(f"{self._client.address}{PATH} is not the API of a gateway of this version.") from None
