"""Frames, as client.py and worker.py write and read them.

Follows docs/protocol.md: "The frame", "The header" and "The route".
"""
from __future__ import annotations

import io
import socket
import struct
from enum import IntEnum
from typing import Any, NamedTuple, Optional

import cbor2

VERSION = 1
MAX_HEADER = 65536
NONE_SAID = 0xFFFFFFFF


class Type(IntEnum):
    HELLO = 0
    REQUEST = 1
    ANSWER = 2
    FAILURE = 3
    ERROR = 4
    CANCEL = 5
    PROGRESS = 6
    PARTIAL = 7
    DRAIN = 8
    WORKERS_FAILED = 9
    HEARTBEAT = 10
    REFUSED = 11
    PANICKED = 12
    CANCELLED = 13
    ATTEMPT_FAILED = 14
    OPERATE = 15
    OPERATED = 16
    SAVE = 17
    HISTORY = 18


WITHOUT_ROUTE = {Type.HELLO, Type.DRAIN, Type.WORKERS_FAILED, Type.HEARTBEAT, Type.REFUSED}


class Unusable(Exception):
    """What the peer sent cannot be used: the connection is over. `code` is one of `refused`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Route(NamedTuple):
    id: int
    attempt: int = 0
    flags: int = 0
    time_left: int = NONE_SAID

    def packed(self) -> bytes:
        return struct.pack(">QHHI", *self)

    @property
    def slot(self) -> int:
        return self.flags >> 8


class Frame(NamedTuple):
    type: Type
    route: Route  # of id 0 where the type has none
    rest: list[Any]  # what the header has behind the route
    decoder: cbor2.CBORDecoder  # stands at the body

    def opaque(self) -> Any:
        """The body that only handler and caller know; raises ValueError if it cannot be read."""
        try:
            return self.decoder.decode()
        except (cbor2.CBORDecodeError, RecursionError) as error:
            raise ValueError(f"the body cannot be read: {error}") from error

    def control(self, *required: str) -> dict[str, Any]:
        """The body that the protocol describes, with the fields that it must have."""
        try:
            body = self.opaque()
        except ValueError as error:
            raise Unusable("malformed", str(error)) from error
        if not isinstance(body, dict) or not body.keys() >= set(required):
            raise Unusable("malformed", f"the body of {self.type.name} is not a map with {required}")
        return body


def send(to: socket.socket, header: list[Any], body: bytes = cbor2.dumps(None)) -> None:
    data = cbor2.dumps(header) + body
    to.sendall(len(data).to_bytes(4, "big") + data)


def receive(source: socket.socket, max_body: int) -> Optional[Frame]:
    """The next frame; None when the connection has ended, at a frame's end or inside one."""
    prefix = _exactly(source, 4)
    if prefix is None:
        return None
    length = int.from_bytes(prefix, "big")
    if length == 0:
        raise Unusable("malformed", "a frame of length 0")
    if length > max_body + MAX_HEADER:
        raise Unusable("too_large", f"a frame of {length} bytes")
    data = _exactly(source, length)
    return None if data is None else _parsed(data)


def _exactly(source: socket.socket, count: int) -> Optional[bytes]:
    data = bytearray()
    while len(data) < count:
        try:
            piece = source.recv(min(count - len(data), 65536))
        except ConnectionError:
            return None
        if not piece:
            return None
        data += piece
    return bytes(data)


def _parsed(data: bytes) -> Frame:
    if len(data) < 2 or not 0x81 <= data[0] <= 0x8F or data[1] > 23:
        raise Unusable("malformed", "the header does not begin as it must")
    try:
        kind = Type(data[1])
    except ValueError as error:
        raise Unusable("unknown_message", f"message type {data[1]}") from error
    routed = kind not in WITHOUT_ROUTE
    if routed and (data[0] == 0x81 or data[2:3] != b"\x50"):
        raise Unusable("malformed", "the route is not where it must be")
    decoder = cbor2.CBORDecoder(io.BytesIO(data))
    try:
        header = decoder.decode()
    except (cbor2.CBORDecodeError, RecursionError) as error:
        raise Unusable("malformed", f"the header cannot be read: {error}") from error
    route, rest = (Route(*struct.unpack(">QHHI", header[1])), header[2:]) if routed else (Route(0), header[1:])
    if kind is Type.REQUEST and not (rest and isinstance(rest[0], str)):
        raise Unusable("malformed", "a request without a method")
    return Frame(kind, route, rest, decoder)
