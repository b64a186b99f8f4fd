"""Settings: one typed object, read once from the environment and ``.env``.

Every name is a contract with the people who run Graft; docs/settings in the README lists them all.
"""

from __future__ import annotations

import difflib
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from graft.errors import SettingError


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class OpenAPIPages(StrEnum):
    CLOSED = "closed"
    OPEN = "open"


class LogPaths(StrEnum):
    """What log lines say of a request's path."""

    FULL = "full"
    ROUTE = "route"


class DifferencesKept(StrEnum):
    """What is stored of two answers that differ."""

    VALUES = "values"
    SHAPE = "shape"


class LegacyLoop(StrEnum):
    """Where the legacy app's async views run. ``auto``: as ``request``, or as ``own`` for an app with async clients."""

    AUTO = "auto"
    REQUEST = "request"  # each on a loop and a thread of its own, as Flask runs them
    OWN = "own"  # on one loop beside the server's, each step in its request's thread
    SERVER = "server"  # on the server's loop, which native routes run on


def _named(*names: str, **limits: Any) -> Any:
    """A field that is read from the environment under exactly these names, the first one being the documented one."""
    default = limits.pop("default")
    return Field(default=default, validation_alias=AliasChoices(*names), **limits)


class Settings(BaseSettings):
    """What the environment says. ``Settings.load()`` raises SettingError in place of pydantic's own error."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    legacy: str = _named("GRAFT_LEGACY", default="legacy_flask:create_app")
    native: str = _named("GRAFT_NATIVE", default="async_routes")
    # Absolute from here on: an app that changes its working directory moves none of them.
    switches: Path = _named("GRAFT_SWITCHES", default=Path("switches.toml"), validate_default=True)
    data: Path = _named("GRAFT_DATA", default=Path("var"), validate_default=True)

    fleet: str | None = _named("GRAFT_FLEET", default=None)

    legacy_threads: int = _named("GRAFT_LEGACY_THREADS", default=16, ge=1, le=1000)
    legacy_queue: int = _named("GRAFT_LEGACY_QUEUE", default=64, ge=0)
    legacy_timeout: float | None = _named("GRAFT_LEGACY_TIMEOUT", default=None, gt=0)
    legacy_stuck: float = _named("GRAFT_LEGACY_STUCK", default=50.0, ge=0, le=100)
    legacy_loop: LegacyLoop = _named("GRAFT_LEGACY_LOOP", default=LegacyLoop.AUTO)
    legacy_websockets: int = _named("GRAFT_LEGACY_WEBSOCKETS", default=2000, ge=0, le=100_000)
    legacy_prefix: str = _named("GRAFT_LEGACY_PREFIX", default="")
    log_user: str | None = _named("GRAFT_LOG_USER", default=None)
    max_body: int | None = _named("GRAFT_MAX_BODY", default=None, ge=0)
    tasks_limit: int = _named("GRAFT_TASKS_LIMIT", default=10_000, ge=1)
    mirror_budget: float = _named("GRAFT_MIRROR_BUDGET", default=10.0, ge=0, le=100, allow_inf_nan=False)
    differences: DifferencesKept = _named("GRAFT_DIFFERENCES", default=DifferencesKept.VALUES)
    differences_days: float = _named("GRAFT_DIFFERENCES_DAYS", default=30.0, gt=0, le=3650, allow_inf_nan=False)
    environment: str | None = _named("GRAFT_ENVIRONMENT", "SENTRY_ENVIRONMENT", default=None, max_length=100)
    version: str | None = _named("GRAFT_VERSION", default=None, max_length=100)
    openapi: OpenAPIPages = _named("GRAFT_OPENAPI", default=OpenAPIPages.CLOSED)
    admin_token: SecretStr | None = _named("GRAFT_ADMIN_TOKEN", default=None)
    admin_tokens: str | None = _named("GRAFT_ADMIN_TOKENS", default=None)

    webhook: Annotated[tuple[str, ...], NoDecode] = _named("GRAFT_WEBHOOK", default=(), repr=False)
    webhook_secret: SecretStr | None = _named("GRAFT_WEBHOOK_SECRET", default=None)

    elasticsearch_url: Annotated[tuple[str, ...], NoDecode] = _named("ELASTICSEARCH_URL", default=())
    elasticsearch_api_key: SecretStr | None = _named("ELASTICSEARCH_API_KEY", default=None)
    elasticsearch_username: str | None = _named("ELASTICSEARCH_USERNAME", default=None)
    elasticsearch_password: SecretStr | None = _named("ELASTICSEARCH_PASSWORD", default=None)
    elasticsearch_ca_certs: Path | None = _named("ELASTICSEARCH_CA_CERTS", default=None)

    host: str = _named("HOST", default="127.0.0.1")
    port: int = _named("PORT", default=8000, ge=0, le=65535)
    workers: int | None = _named("WEB_CONCURRENCY", default=None, ge=1)
    forwarded_allow_ips: str = _named("FORWARDED_ALLOW_IPS", default="127.0.0.1")
    forwarded: Annotated[tuple[str, ...], NoDecode] = _named("GRAFT_FORWARDED", default=())
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = _named("GRAFT_ALLOWED_HOSTS", default=())
    graceful_timeout: float = _named("GRACEFUL_TIMEOUT", default=30.0, ge=0)
    stream_grace: float = _named("GRAFT_STREAM_GRACE", default=600.0, ge=0)
    log_level: str = _named("LOG_LEVEL", default="info")
    log_format: LogFormat = _named("LOG_FORMAT", default=LogFormat.CONSOLE)
    log_paths: LogPaths = _named("GRAFT_LOG_PATHS", default=LogPaths.FULL)

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def folder(self) -> Path:
        """The folder that relative settings are below: where the process was when it read them."""
        return self._folder

    @field_validator("switches", "data", "elasticsearch_ca_certs")
    @classmethod
    def _below_the_folder_of_the_start(cls, path: Path | None) -> Path | None:
        return path.absolute() if path is not None else None

    @field_validator("elasticsearch_url", "webhook", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(host.strip() for host in value.split(",") if host.strip())
        return value

    @field_validator("elasticsearch_url")
    @classmethod
    def _hosts_have_a_scheme(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host.startswith(("http://", "https://")):
                raise ValueError(f"{host!r} has no scheme; write http://HOST:PORT or https://HOST:PORT")
        return hosts

    @field_validator("webhook")
    @classmethod
    def _webhooks_are_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not re.fullmatch(r"https?://[^\s/?#@]+(@[^\s/?#@]+)?([/?]\S*)?", url):
                raise ValueError("one of its addresses is none; write https://HOST/PATH, with commas between several")
        return urls

    @field_validator("legacy_prefix")
    @classmethod
    def _prefix_is_a_path(cls, prefix: str) -> str:
        if prefix and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", prefix):
            raise ValueError(f"{prefix!r} is not a path; write it with a slash before and none behind, as in /old")
        return prefix

    @field_validator("forwarded", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        names = tuple(name.strip().lower() for name in names)
        unknown = set(names) - {"host", "port", "prefix", "none"}
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))} is unknown; name some of host, port, prefix, or none")
        return tuple(name for name in names if name != "none")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_allowed(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        names = tuple(name.strip().lower().rstrip(".") for name in names if name.strip())
        for name in names:
            if not _ALLOWED_HOST(name):
                raise ValueError(f"{name!r} is no host name; write example.org, .example.org for all below it, or *")
        return names

    @field_validator("fleet")
    @classmethod
    def _is_a_fleet(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
            raise ValueError(f"{name!r} is no name of a fleet; write small letters, digits, - and _, as in shop")
        return name

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level = value.lower()
        if level not in _LEVELS:
            raise ValueError(f"is not one of {', '.join(_LEVELS)}")
        return level

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """The settings of this process; ``overrides`` (by field name) win over the environment and ``told``.

        Raises SettingError that names the environment variable, the value and what is wrong with it.
        """
        for name in overrides.keys() - cls.model_fields.keys():
            close = difflib.get_close_matches(name, cls.model_fields, 1)
            mend = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(cls.model_fields))}."
            raise SettingError(name, "there is no such setting", mend)
        try:
            return cls(**{**_told, **overrides})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            shown = "a secret value" if _IS_SECRET(name) else repr(first["input"])
            raise SettingError(
                name, f"found {shown}", f"{first['msg'].removeprefix('Value error, ').rstrip('.')}."
            ) from None


def tell(**values: Any) -> None:
    """From now on ``values``, by field name, win over this process's environment: what its server knows better.

    Kept here and not in ``os.environ``, which is the app's. A forked worker has what its master was told.
    """
    _told.update(values)


_told: dict[str, Any] = {}
_ALLOWED_HOST = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]").fullmatch
_IS_SECRET = re.compile("KEY|PASSWORD|TOKEN|SECRET|WEBHOOK").search
_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")
