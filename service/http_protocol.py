"""HTTP/1.1 below the application: the head of a request is bounded in size and time, and what is wrong with it is a problem.

The server's own class bounds neither the time for a head, nor that for the rest of a body which nobody reads any more.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import ClassVar

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.problems import Unavailable


class BoundedH11(H11Protocol):
    """slow_s: longest wait for a head, or for what is left of a body once its request was answered.

    most_connections: whoever comes beyond is told to come back.
    """

    slow_s: ClassVar[float]
    most_head_bytes: ClassVar[int]
    most_connections: ClassVar[int]
    _giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self.app = _crowded
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head is handed on in pieces, as the parser measures it only while it is incomplete."""
        while data and not self.transport.is_closing():
            room = len(data)
            if self.conn.their_state is h11.IDLE:
                room = max(1, self.most_head_bytes + 1 - len(self.conn.trailing_data[0]))
            super().data_received(data[:room])
            data = data[room:]
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """What the parser found, as the base class calls it."""
        if len(self.conn.trailing_data[0]) > self.most_head_bytes:
            self._refuse(431, f"the head of the request has more than {self.most_head_bytes} bytes")
        else:
            self._refuse(400, msg)

    def _watch(self) -> None:
        """One timer runs from the moment at which the server begins to wait until it has what it waits for."""
        unread = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if self.conn.their_state is not h11.IDLE and not unread:
            self._forget()
        elif self._giving_up is None:
            self._giving_up = self.loop.call_later(self.slow_s, self._give_up)

    def _forget(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(408, f"the head of the request did not come within {self.slow_s:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # an answer is under way
            self.transport.close()
            return
        title = HTTPStatus(status).phrase
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
        headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


async def _crowded(_: Scope, __: Receive, send: Send) -> None:
    body = json.dumps(Unavailable("as many connections are open as may be; try later").as_json()).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"retry-after", b"1"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": Unavailable.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def bounded(*, slow_s: float, most_head_bytes: int, most_connections: int) -> type[BoundedH11]:
    limits = {"slow_s": slow_s, "most_head_bytes": most_head_bytes, "most_connections": most_connections}
    return type("Bounded", (BoundedH11,), limits)
