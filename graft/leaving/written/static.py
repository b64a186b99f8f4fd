"""Static files with the headers that they had from Flask."""

from __future__ import annotations

import os
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class FlaskStatic(StaticFiles):
    """``max_age`` is SEND_FILE_MAX_AGE_DEFAULT in seconds; None has browsers ask each time."""

    def __init__(self, directory: str, max_age: int | None = None) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._cached = "no-cache" if max_age is None else f"public, max-age={max_age}"

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = self._cached
        if response.status_code == 200:
            response.headers["content-disposition"] = f"inline; filename={os.path.basename(full_path)}"
        return response
