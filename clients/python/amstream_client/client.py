"""The synchronous client: one method per call of the HTTP API."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from amstream_client import retry
from amstream_client.discovery import DEFAULT_URL, discover, is_loopback
from amstream_client.errors import Unavailable, UnexpectedAnswer
from amstream_client.payload import (
    SNAPSHOT_FILE,
    Inputs,
    Labels,
    Payload,
    SupportsArray,
    Weights,
    inputs_payload,
    json_payload,
    samples_payload,
    to_rows,
)
from amstream_client.wire import (
    Accepted,
    Model,
    Prediction,
    Predictions,
    Restored,
    Snapshot,
    Spec,
    parse,
    parse_list,
)


class Client:
    """Talks to one service; close it, or use it as a context manager. Methods raise `AmstreamError`.

    What fails for a passing reason (no connection, 429, 503) is tried again after a growing pause, unless a second
    try could do harm.

    Args:
        timeout_s: for each attempt, of connecting and of every wait for data
        retries: how often a request is tried again; 0 = never
        transport: replaces the network, in tests for example (`amstream_client.testing.FakeService`)
        sleep: waits between attempts
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if key is not None and not _is_visible_ascii(key):
            raise ValueError("key must be visible ASCII characters without spaces")  # it is secret: not shown
        remote = not is_loopback(url)
        self._retries = retries
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=remote,  # a proxy named in the environment cannot reach our loopback
        )

    @classmethod
    def from_environment(
        cls,
        *,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """A client of the service that AMSTREAM_URL and AMSTREAM_KEY name, else of the one on this machine."""
        found_url, found_key = discover(url, key, environ)
        return cls(found_url, found_key, timeout_s=timeout_s, retries=retries, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def ready(self) -> bool:
        """False while the service starts or has lost its stores; raises ConnectionFailed when nothing answers."""
        try:
            self._call("GET", "/readyz", retries=0)
        except Unavailable:
            return False
        return True

    def create_model(self, name: str, spec: Spec) -> Model:
        """Also answers the model that exists with an equal spec; raises Conflict when its spec differs."""
        return parse(Model, self._call("PUT", _path(name), json_payload(spec)))

    def model(self, name: str) -> Model:
        return parse(Model, self._call("GET", _path(name)))

    def models(self) -> list[Model]:
        return parse_list(Model, self._call("GET", "/v1/models"), "models")

    def delete_model(self, name: str) -> None:
        self._call("DELETE", _path(name))

    def learn(
        self, model: str, x: Inputs, y: Labels, weight: Weights | None = None, *, idempotency_key: str | None = None
    ) -> Accepted:
        """Appends samples to the model's stream; they are learned soon after, in this order.

        Args:
            x: (n, inputs); NaN or None = missing value
            y: n labels
            weight: n numbers, 1 each by default
            idempotency_key: 1 to 255 visible ASCII characters; samples sent again under the same key (kept for 1 h)
                are not learned again. Random by default, and the same for all retries of this call.
        """
        if idempotency_key is None:
            idempotency_key = str(uuid.uuid4())
        if not _is_visible_ascii(idempotency_key) or len(idempotency_key) > 255:
            raise ValueError(f"idempotency_key must be 1 to 255 visible ASCII characters, not {idempotency_key!r}")
        payload = samples_payload(x, y, weight)
        headers = {"Idempotency-Key": idempotency_key}
        return parse(Accepted, self._call("POST", _path(model, "samples"), payload, headers=headers))

    def predict(self, model: str, x: Inputs, *, min_entry: str | None = None) -> Predictions:
        """Predicts n samples, x of shape (n, inputs).

        Args:
            min_entry: predict only once this entry (of `Accepted.entries`) is learned; Unavailable if that takes long
        """
        rows = to_rows(x)
        params = {} if min_entry is None else {"min_entry": min_entry}
        path = _path(model, "predictions")
        answer = parse(Predictions, self._call("POST", path, inputs_payload(rows), params=params))
        if not len(answer.labels) == len(answer.probabilities) == len(rows):
            raise UnexpectedAnswer(f"{len(answer.labels)} predictions for {len(rows)} samples")
        return answer

    def predict_one(self, model: str, x: SupportsArray | Sequence[float | None]) -> Prediction:
        """Predicts one sample, x of shape (inputs,)."""
        batch = self.predict(model, [x])
        return Prediction(
            batch.labels[0], batch.probabilities[0], batch.classes, batch.model_version, batch.applied_entry
        )

    def create_snapshot(self, model: str, name: str) -> Snapshot:
        answer = self._call("POST", _path(model, "snapshots"), json_payload({"name": name}), repeatable=False)
        return parse(Snapshot, answer)

    def snapshots(self, model: str) -> list[Snapshot]:
        return parse_list(Snapshot, self._call("GET", _path(model, "snapshots")), "snapshots")

    def snapshot(self, model: str, name: str) -> Snapshot:
        return parse(Snapshot, self._call("GET", _path(model, "snapshots", name)))

    def delete_snapshot(self, model: str, name: str) -> None:
        """Raises Conflict while the model's log holds an entry that restored the snapshot."""
        self._call("DELETE", _path(model, "snapshots", name))

    def export_snapshot(self, model: str, name: str, file: str | os.PathLike[str]) -> None:
        """Writes the snapshot as a safetensors file, for `import_snapshot` on this or another service.

        A file of that name is replaced once all of the new one is there. Raises OSError when it cannot be written.
        """
        answer = self._send(self._http.build_request("GET", _path(model, "snapshots", name, "content")))
        if answer.headers.get("Content-Type") != SNAPSHOT_FILE:
            raise UnexpectedAnswer(f"{answer.url} answered something that is not {SNAPSHOT_FILE}")
        _replace(Path(file), answer.content)

    def import_snapshot(self, model: str, name: str, file: str | os.PathLike[str]) -> Snapshot:
        """Keeps an exported snapshot under a name; the model changes only when it is restored.

        The model that it comes from must have had an equal learner, hyper-parameters, classes and shapes.
        """
        payload = Payload(Path(file).read_bytes(), SNAPSHOT_FILE)
        path = _path(model, "snapshots", "import")
        return parse(Snapshot, self._call("POST", path, payload, repeatable=False, params={"name": name}))

    def restore(self, model: str, snapshot: str, *, if_match: str | None = None) -> Restored:
        """Puts the model back to what it was at the snapshot; samples sent later are learned on top of that.

        Args:
            if_match: a digest; raises PreconditionFailed when the snapshot has another one
        """
        if if_match is not None and (not _is_visible_ascii(if_match) or '"' in if_match):
            raise ValueError(f"if_match must be a digest, as Snapshot.digest has it, not {if_match!r}")
        headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
        payload = json_payload({"snapshot": snapshot})
        return parse(Restored, self._call("POST", _path(model, "restore"), payload, repeatable=False, headers=headers))

    def _call(
        self,
        method: str,
        path: str,
        payload: Payload | None = None,
        *,
        repeatable: bool = True,
        retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON; None when it has no body."""
        request = self._http.build_request(
            method,
            path,
            content=payload.content if payload else None,
            headers={**({"Content-Type": payload.content_type} if payload else {}), **(headers or {})},
            params=params or None,
        )
        response = self._send(request, repeatable=repeatable, retries=retries)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise UnexpectedAnswer(f"{response.url} answered something that is not JSON") from error

    def _send(self, request: httpx.Request, *, repeatable: bool = True, retries: int | None = None) -> httpx.Response:
        retries = self._retries if retries is None else retries
        return retry.send(self._http, request, repeatable=repeatable, retries=retries, sleep=self._sleep)


def _path(model: str, *rest: str) -> str:
    return "/".join(["/v1/models", *(quote(part, safe="") for part in (model, *rest))])


def _is_visible_ascii(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
