"""API keys; for a key with the scope `admin` that is not bound to models."""

from __future__ import annotations

from collections.abc import Sequence

from amstream_client.call import Call, path_part, read, read_list, read_nothing
from amstream_client.payload import json_payload
from amstream_client.wire import CreatedKey, Key


def create_key(
    name: str,
    scopes: Sequence[str],
    *,
    models: Sequence[str] | None = None,
    expires_in_s: float | None = None,
    requests_per_minute: int | None = None,
) -> Call[CreatedKey]:
    """Makes a key; the answer alone has its secret, as `key`. Raises Conflict while another one has the name.

    Args:
        scopes: predict, learn, snapshot, admin
        models: those that it is for; None: all
        expires_in_s: None: it holds until it is revoked
        requests_per_minute: None: what the service's settings say
    """
    body = {
        "name": name,
        "scopes": list(scopes),
        "models": None if models is None else list(models),
        "expires_in_s": expires_in_s,
        "requests_per_minute": requests_per_minute,
    }
    payload = json_payload({field: value for field, value in body.items() if value is not None})
    return Call("POST", "/v1/keys", read(CreatedKey), payload, repeatable=False)


def keys(*, revoked: bool = False) -> Call[list[Key]]:
    """Never the secrets themselves. revoked: with those that were revoked."""
    return Call("GET", "/v1/keys", read_list(Key, "keys"), params={"revoked": "true"} if revoked else {})


def revoke_key(key_id: str) -> Call[None]:
    """Refused from then on, by all processes within seconds. Raises Conflict for the last key that could make another."""
    return Call("DELETE", f"/v1/keys/{path_part(key_id)}", read_nothing)
