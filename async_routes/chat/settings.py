"""What the chat reads from the environment and ``.env``.

==================== ========================= =================================================================
name                 default                   meaning
==================== ========================= =================================================================
CHAT_BASE_URL        OpenAI's, if a key is set an OpenAI-compatible server, as in ``http://localhost:11434/v1``
CHAT_MODEL           none: quoted passages     the model to ask there
CHAT_API_KEY         none                      its key; many local servers want none
CHAT_TIMEOUT         15                        seconds that the model may say nothing
==================== ========================= =================================================================

``.env`` and a relative GRAFT_DATA are those of this project's folder, wherever the Flask app has gone to meanwhile.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parents[2]


class ChatSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=PROJECT / ".env", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    base_url: str | None = Field(None, validation_alias="CHAT_BASE_URL")
    model: str | None = Field(None, validation_alias="CHAT_MODEL")
    api_key: SecretStr | None = Field(None, validation_alias="CHAT_API_KEY")
    timeout: float = Field(15.0, validation_alias="CHAT_TIMEOUT", gt=0)
    data: Path = Field(Path("var"), validation_alias="GRAFT_DATA", validate_default=True)

    @field_validator("data")
    @classmethod
    def _in_the_project(cls, data: Path) -> Path:
        return PROJECT / data

    @property
    def has_model(self) -> bool:
        return bool(self.model and (self.base_url or self.api_key))
