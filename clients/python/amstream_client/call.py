"""One call of the HTTP API as data: what both clients send, and how they read the answer."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast, get_args, get_type_hints
from urllib.parse import quote

import httpx

from amstream_client.compression import Compression, compressed
from amstream_client.discovery import is_loopback
from amstream_client.errors import BadName, UnexpectedAnswer
from amstream_client.payload import Payload
from amstream_client.wire import Resource, parse, parse_list

T = TypeVar("T")
Read = Callable[[httpx.Response], T]


@dataclass(frozen=True)
class Call(Generic[T]):
    """Args:
    read: makes the result of a successful answer
    repeatable: whether carrying the call out twice does no more than once; if not, it is sent again only when the
        connection failed before it was sent
    paged: whether the answer is one page of a list, which names the next one
    """

    method: str
    path: str
    read: Read[T]
    payload: Payload | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    paged: bool = False

    def next_page(self, response: httpx.Response) -> Call[T] | None:
        """For what comes after this answer; None where that is all."""
        cursor = response.json().get("next_cursor") if self.paged else None
        return None if cursor is None else replace(self, params={**self.params, "cursor": cursor})

    def request_arguments(self, compress: Compression = None) -> dict[str, Any]:
        """For `httpx.Client.build_request`. A post or patch gets its Idempotency-Key here, once for all of its
        retries."""
        headers = dict(self.headers)
        payload = None if self.payload is None else compressed(self.payload, compress)
        if payload is not None:
            headers["Content-Type"] = payload.content_type
            if payload.encoding is not None:
                headers["Content-Encoding"] = payload.encoding
        if self.method in ("POST", "PATCH"):
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        content = None if payload is None else payload.content
        return {
            "method": self.method,
            "url": self.path,
            "content": content,
            "headers": headers,
            "params": self.params or None,
        }


def model_path(model: str, *rest: str) -> str:
    """Raises: BadName."""
    return "/".join(["/v1/models", *map(path_part, (model, *rest))])


def path_part(name: str) -> str:
    """Raises BadName for what no escape keeps in its place: servers take %2F for a slash, and clients resolve dots."""
    if name in ("", ".", "..") or "/" in name:
        raise BadName(f"a name is not empty and has no slash: {name!r} is none")
    return quote(name, safe="")


def read_json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise UnexpectedAnswer(f"{response.url} answered something that is not JSON") from error


def read(kind: type[Resource]) -> Read[Resource]:
    return lambda response: parse(kind, read_json(response))


def read_list(kind: type[Resource], field: str) -> Read[list[Resource]]:
    return lambda response: parse_list(kind, read_json(response), field)


def joined(pages: list[T]) -> T:
    """One result of all pages; what has no pages comes as one."""
    if len(pages) == 1:
        return pages[0]
    return cast(T, [item for page in pages for item in cast(list[Any], page)])


def read_nothing(response: httpx.Response) -> None:
    """The answer says by its status that it is done."""


def is_visible_ascii(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)


def http_options(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """For `httpx.Client` and `httpx.AsyncClient`. Raises ValueError for a URL or a key that cannot be one."""
    if key is not None and not is_visible_ascii(key):
        raise ValueError("key must be visible ASCII characters without spaces")  # it is secret: not shown
    return {
        "base_url": url,
        "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
        "timeout": timeout_s,
        "trust_env": not is_loopback(url),  # a proxy named in the environment cannot reach our loopback
    }


def described_by(build: Callable[..., Call[Any]], method: Callable[..., Any]) -> None:
    """Gives a client's method the name, the parameters and the docstring of the function that builds its call."""
    method.__name__ = method.__qualname__ = build.__name__
    method.__doc__ = build.__doc__
    signature = inspect.signature(build)
    [result] = get_args(get_type_hints(build)["return"])
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    vars(method)["__signature__"] = signature.replace(
        parameters=[this, *signature.parameters.values()], return_annotation=result
    )
