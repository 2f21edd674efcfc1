"""Snapshots, as files too, and going back to them or to a point of the log."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from amstream_client.call import Call, is_visible_ascii, model_path, read, read_list, read_nothing
from amstream_client.errors import UnexpectedAnswer
from amstream_client.payload import SNAPSHOT_FILE, Payload, json_payload
from amstream_client.wire import Restored, Snapshot


def create_snapshot(model: str, name: str) -> Call[Snapshot]:
    """Keeps the model's state as of the samples accepted so far."""
    payload = json_payload({"name": name})
    return Call("POST", model_path(model, "snapshots"), read(Snapshot), payload)


def snapshots(model: str) -> Call[list[Snapshot]]:
    return Call("GET", model_path(model, "snapshots"), read_list(Snapshot, "snapshots"), paged=True)


def snapshot(model: str, name: str) -> Call[Snapshot]:
    return Call("GET", model_path(model, "snapshots", name), read(Snapshot))


def delete_snapshot(model: str, name: str) -> Call[None]:
    """Raises Conflict while the model's log holds an entry that restored the snapshot."""
    return Call("DELETE", model_path(model, "snapshots", name), read_nothing)


def export_snapshot(model: str, name: str, file: str | os.PathLike[str]) -> Call[None]:
    """Writes the snapshot as a safetensors file, for `import_snapshot` on this or another service.

    A file of that name is replaced once all of the new one is there. Raises OSError when it cannot be written.
    """

    def keep(response: httpx.Response) -> None:
        if response.headers.get("Content-Type") != SNAPSHOT_FILE:
            raise UnexpectedAnswer(f"{response.url} answered something that is not {SNAPSHOT_FILE}")
        _replace(Path(file), response.content)

    return Call("GET", model_path(model, "snapshots", name, "content"), keep)


def import_snapshot(model: str, name: str, file: str | os.PathLike[str]) -> Call[Snapshot]:
    """Keeps an exported snapshot under a name; the model changes only when it is restored.

    The model that it comes from must have had an equal learner, hyper-parameters, classes and shapes.
    """
    payload = Payload(Path(file).read_bytes(), SNAPSHOT_FILE)
    path = model_path(model, "snapshots", "import")
    return Call("POST", path, read(Snapshot), payload, params={"name": name})


def restore(
    model: str,
    snapshot: str | None = None,
    *,
    at: str | datetime | None = None,
    skip: Sequence[str] = (),
    if_match: str | None = None,
) -> Call[Restored]:
    """Puts the model back to what it was; samples sent later are learned on top of that.

    Give a snapshot; or a point of the log, entries to skip, or both. What it went back to is kept as a snapshot, too.

    Args:
        at: the last entry to keep, or a time with its offset from UTC
        skip: entries to leave out; with `skip` alone everything else stays learned
        if_match: a digest; raises PreconditionFailed when the snapshot has another one
    """
    if (snapshot is None) == (at is None and not skip):
        raise ValueError("give a snapshot, or else a point (at) or entries to skip")
    if if_match is not None and (not is_visible_ascii(if_match) or '"' in if_match):
        raise ValueError(f"if_match must be a digest, as Snapshot.digest has it, not {if_match!r}")
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    body: dict[str, Any] = {"snapshot": snapshot} if snapshot is not None else {}
    if at is not None:
        body["at"] = at.isoformat() if isinstance(at, datetime) else at
    if skip:
        body["skip"] = list(skip)
    return Call("POST", model_path(model, "restore"), read(Restored), json_payload(body), headers)


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
