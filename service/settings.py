"""All settings, read once from the environment (`AMSTREAM_…`) into one frozen object."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/amstream`, by default `~/.local/share/amstream`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "amstream"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Settings(BaseSettings):
    """What one process of the service runs with. Hyper-parameters are not here: they belong to a model's spec."""

    model_config = SettingsConfigDict(env_prefix="AMSTREAM_", frozen=True, extra="ignore", allow_inf_nan=False)

    role: Literal["all", "api", "learner"] = Field("all", description="what this process does")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8707, ge=0, le=65535, description="port to listen on")
    data_dir: Path = Field(
        default_factory=default_data_dir, description="embedded Valkey and SQLite, and the admin key"
    )
    redis_url: str | None = Field(None, description="a Valkey or Redis of your own; embedded when unset")
    database_url: str | None = Field(
        None, description="postgresql+psycopg://… or sqlite:///…; embedded SQLite when unset"
    )
    ack: Literal["write", "fsync"] = Field(
        "write", description="what accepted samples survive: `write`, the death of any process; `fsync`, power loss"
    )
    node: str | None = Field(
        None, description="name of this learner; one that returns under its name resumes its lease"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where learning happens")
    threads: int | None = Field(None, ge=1, description="torch threads; torch's own choice when unset")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    trusted_hosts: str = Field(
        "*", description="hosts that requests may name, with commas; `*.example.org` for all below it, `*` for any"
    )
    cors_origins: str = Field(
        "", description="origins whose pages may call the API from a browser, with commas; none when empty"
    )
    max_connections: int = Field(1000, ge=1, description="most connections at once, per process")
    max_header_bytes: int = Field(65_536, ge=1024, description="largest head of a request, its URL included")
    slow_s: float = Field(
        30.0, gt=0, description="longest wait for a request's head, and for its body beyond what 16 KiB a second take"
    )
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="largest request body, decompressed")
    max_post_samples: int = Field(10_000, ge=1, description="most samples in one request")
    max_state_bytes: int = Field(2**30, ge=1, description="largest learner state that a spec may ask for")
    wait_s: float = Field(10.0, gt=0, description="longest wait for min_entry, or for a command to be applied")

    checkpoint_samples: int = Field(20_000, ge=1, description="checkpoint at least every so many samples")
    checkpoint_s: float = Field(10.0, gt=0, description="checkpoint at least every so many seconds while learning")
    checkpoints_kept: int = Field(3, ge=1, description="newest checkpoints kept per model")
    lease_s: float = Field(
        10.0, gt=0.1, description="a learner that is silent for so long loses its models to a standby"
    )
    publish_s: float = Field(0.1, gt=0, description="least time between two publications of weights to API replicas")

    max_models: int = Field(1000, ge=1, description="most models of the server")
    max_log_bytes: int = Field(
        2**33, ge=1, description="most memory that one model may take in Redis, tracked predictions included"
    )
    model_samples_per_minute: int | None = Field(
        None, ge=1, description="most samples that one model is given in a minute; unlimited when unset"
    )
    key_requests_per_minute: int | None = Field(
        None, ge=1, description="most requests a minute with one key that has no limit of its own; unlimited when unset"
    )
    rates_redis_url: str | None = Field(
        None, description="a Valkey or Redis in which API processes count together; each by itself when unset"
    )
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="opens `/metrics` as a bearer token; without it, a key for all models does"
    )
    max_listeners: int = Field(100, ge=1, description="most connections that listen to events, per process")

    track_ttl_s: float = Field(604_800.0, gt=0, description="how long a tracked prediction waits for its label")
    track_max: int = Field(100_000, ge=1, description="most tracked predictions that wait per model")
    idempotency_ttl_s: float = Field(3600.0, gt=0, description="how long an Idempotency-Key is remembered")
    idempotency_max: int = Field(100_000, ge=1, description="most Idempotency-Keys remembered per model")

    @property
    def hosts(self) -> list[str]:
        """Empty where any host will do."""
        return [] if self.trusted_hosts.strip() == "*" else _listed(self.trusted_hosts)

    @property
    def origins(self) -> list[str]:
        return _listed(self.cors_origins)

    @property
    def embedded_redis(self) -> bool:
        return self.redis_url is None

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'amstream.db'}"
