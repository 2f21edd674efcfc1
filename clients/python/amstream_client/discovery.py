"""Where the service is and which key opens it, when the caller does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from amstream_client.errors import KeyNotFound

DEFAULT_URL = "http://127.0.0.1:8707"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def discover(url: str | None, key: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """URL and key: the arguments, else AMSTREAM_URL and AMSTREAM_KEY, else this machine's service and its admin key.

    The admin key in the data directory belongs to the service on this machine and is sent to no other.

    Raises:
        KeyNotFound: saying where it looked
        ValueError: for what is no HTTP URL
    """
    url = url or environ.get("AMSTREAM_URL") or DEFAULT_URL
    key = key or environ.get("AMSTREAM_KEY")
    if key:
        return url, key
    if not is_loopback(url):
        raise KeyNotFound(f"no API key for {url}: set AMSTREAM_KEY (or give --key)")
    path = _data_directory(environ) / "admin.key"
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        advice = "perhaps no service was started on this machine yet: `amstream serve` starts one"
        raise KeyNotFound(f"no API key: AMSTREAM_KEY is not set, and there is no {path}; {advice}") from error
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not a key"
        raise KeyNotFound(f"no API key: AMSTREAM_KEY is not set, and {path}: {cause}") from error
    if not key:
        raise KeyNotFound(f"no API key: AMSTREAM_KEY is not set, and {path} is empty")
    return url, key


def is_loopback(url: str) -> bool:
    """Raises ValueError for what is no HTTP URL."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"url {url!r}: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"url must be like {DEFAULT_URL}, not {url!r}")
    return parsed.host in LOOPBACK


def _data_directory(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("AMSTREAM_DATA_DIR"):
        return Path(chosen)
    return Path(environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "amstream"
