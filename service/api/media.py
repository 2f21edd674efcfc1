"""The media types of bodies that carry numbers."""

from __future__ import annotations

from service.problems import FieldError, UnsupportedMedia

JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
NPZ = "application/x-npz"

SAMPLES = (JSON, NDJSON, MSGPACK, NPZ)
INPUTS = (JSON, MSGPACK, NPZ)


def content_kind(content_type: str | None, among: tuple[str, ...] = SAMPLES) -> str:
    """The media type, without its parameters. Raises: UnsupportedMedia naming the header."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind not in among:
        listed = ", ".join(among[:-1]) + f" or {among[-1]}"
        error = FieldError("Content-Type", content_type, f"must be {listed}")
        raise UnsupportedMedia(f"the body is {content_type!r}, this takes {listed}", errors=[error])
    return kind
