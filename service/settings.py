"""Settings: the environment (and `.env`) for what differs between machines, and with them the read triage.yaml.

Read once at every start. A wrong or unknown setting raises ConfigError with a sentence that names it.
"""

import hashlib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import ConfigError
from service.config import Config, read_config

PREFIX = "TRIAGE_"
FINGERPRINT = "X-Triage-Configuration"  # of /readyz: by it doctor sees that the service runs with another triage.yaml
SECRETS = Path("/run/secrets")  # where containers find theirs: a file named after the setting, in lower case
DEMO_LLMS = Path(__file__).resolve().parent.parent / "models" / "llm" / "demo"


class Settings(BaseSettings):
    """What differs between machines. Each field is an environment variable with the prefix TRIAGE_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, description="Postgres; unset: an embedded one is run")
    redis_url: SecretStr | None = Field(None, description="Redis; unset: an embedded one is run")
    config: Path = Field(Path("triage.yaml"), description="the configuration file")
    data_dir: Path = Field(Path(".triage"), description="where the embedded servers keep their data")
    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8080, ge=1, le=65535, description="port the API listens on")
    public_url: str = Field("", description="address people reach the API under; empty: http://HOST:PORT")
    allowed_hosts: str = Field("", description="further names the API may be reached by, separated by commas")
    api_key: SecretStr | None = Field(None, description="the key of `triage import`; unset: DATA_DIR/key")
    max_ticket_bytes: int = Field(1 << 20, ge=1024, description="largest ticket accepted")
    max_request_bytes: int = Field(16 << 20, ge=1024, description="largest request accepted")
    queue_limit: int = Field(100_000, ge=1, description="tickets that may wait before new ones get 429")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line logged")
    log_format: Literal["console", "json"] = Field("console", description="form of a log line")

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = ("postgresql", "postgresql+psycopg", "postgres")
        return _url(value, schemes, "postgresql://user:password@host/name")

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        return _url(value, ("redis", "rediss", "unix"), "redis://host:6379/0")

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str) -> str:
        """Pages compare it with what browsers send, so it must be an origin: no path, no user, no wildcard."""
        if value and not re.fullmatch(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?/?", value, re.ASCII):
            raise ValueError("it must be like https://triage.example.com, without a path")
        return value

    def urls(self) -> tuple[str, str]:
        """Those of Postgres and Redis, for a process that runs none itself; raises ConfigError when one is missing."""
        if self.database_url is None or self.redis_url is None:
            raise ConfigError("Set TRIAGE_DATABASE_URL and TRIAGE_REDIS_URL, or run everything at once with triage up.")
        return self.database_url.get_secret_value(), self.redis_url.get_secret_value()


def _url(value: SecretStr | None, schemes: tuple[str, ...], example: str) -> SecretStr | None:
    """Checks a URL here, where the setting's name is known, and without repeating it: it may hold a password."""
    if value is None:
        return value
    try:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme in schemes and parts.port != 0:
            return value
    except ValueError:
        pass
    raise ValueError(f"it must be a URL like {example}")


class Loaded(BaseModel):
    """Everything read: settings, config, and the folder relative paths in triage.yaml start from."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    config: Config
    folder: Path

    @cached_property
    def fingerprint(self) -> str:
        """Tells one triage.yaml from another by what it means, not by its comments."""
        return hashlib.sha256(self.config.model_dump_json().encode()).hexdigest()[:16]

    @cached_property
    def taxonomy_path(self) -> Path:
        return self.folder / self.config.taxonomy

    def model_path(self, llm: str) -> Path:
        """The GGUF of an llm, or the card of one whose weights a server holds."""
        config = self.config.llms[llm]
        place, suffix = (config.card, ".json") if config.card else (config.model, ".gguf")
        if place.startswith("demo:"):
            return DEMO_LLMS / (place.removeprefix("demo:") + suffix)
        return self.folder / place


def settings(env_file: str | None = ".env", **overrides: Any) -> Settings:
    """Settings from environment, `.env` and secret files, in this order; arguments that are not None win."""
    try:
        _refuse_unknown_names(env_file)
        secrets = SECRETS if SECRETS.is_dir() else None
        return Settings(
            _env_file=env_file,
            _secrets_dir=secrets,
            **{name: value for name, value in overrides.items() if value is not None},
        )
    except UnicodeDecodeError:
        raise ConfigError(f"{env_file} is not UTF-8 text; save it again as UTF-8.") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise ConfigError(f"The setting {name} is wrong: {first['msg'].removeprefix('Value error, ')}.") from None


def load(env_file: str | None = ".env", **overrides: Any) -> Loaded:
    """Settings and triage.yaml."""
    found = settings(env_file, **overrides)
    return Loaded(settings=found, config=read_config(found.config), folder=found.config.resolve().parent)


def connection_secrets() -> dict[str, str]:
    """Where connections find the secrets they name: the environment, and below it `.env`."""
    return {name: value for name, value in dotenv_values(".env").items() if value is not None} | dict(os.environ)


def _refuse_unknown_names(env_file: str | None) -> None:
    written = dotenv_values(env_file) if env_file else {}
    given = {name.upper() for name in (*os.environ, *written) if name.upper().startswith(PREFIX)}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in given - known if not name.startswith("TRIAGE_TEST_"))
    if unknown:
        raise ConfigError(f"Unknown setting {', '.join(unknown)}; the README lists all of them.")
