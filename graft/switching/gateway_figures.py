"""The figures of a running gateway, asked for over its own API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from graft.errors import GraftError
from graft.switching.figures import Figures, Latency
from graft.types import RouteKey

PATH = "/_graft/api/routes"
_SECONDS = 10.0


class GatewayFigures:
    """Statistics by ``GET /_graft/api/routes`` of the gateway at ``url``."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def figures(self) -> Mapping[RouteKey, Figures]:
        """Raises GraftError when the gateway can't be asked, refuses, or is something else."""
        try:
            rows = self._asked()["routes"]
            return {RouteKey.parse(row["route"]): figures_of(row) for row in rows}
        except HTTPError as error:
            mend = "Is GRAFT_ADMIN_TOKEN the gateway's?" if error.code == 401 else "Is it a Graft gateway?"
            raise GraftError(f"{self._url} answered {error.code}. {mend}") from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise GraftError(
                f"The gateway at {self._url} can't be asked for its figures: {reason}. Is it up?"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise GraftError(f"{self._url}{PATH} is not the API of a gateway of this version.") from None

    def _asked(self) -> Any:
        if urlsplit(self._url).scheme not in ("http", "https"):
            raise GraftError(f"{self._url} is no address of a gateway. Write http://HOST:PORT.")
        request = Request(self._url + PATH, headers={"Authorization": f"Bearer {self._token}"})
        with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as answer:
            return json.load(answer)


def figures_of(row: Mapping[str, Any]) -> Figures:
    """One row of the API as Figures."""
    served, latency = row["served"], row["latency_ms"]
    return Figures(
        native=served["native"],
        legacy=served["legacy"],
        fallback=served["fallback"],
        native_failed=row.get("native_failed", served["fallback"]),
        compared=row["compared"],
        matched=row["matched"],
        failed=row["failed"],
        skipped=row["skipped"],
        native_latency=_latency(latency["native"]),
        legacy_latency=_latency(latency["legacy"]),
    )


def _latency(row: Mapping[str, Any] | None) -> Latency:
    row = row or {}
    return Latency(row.get("p50"), row.get("p95", row.get("p99")), row.get("p99"))
