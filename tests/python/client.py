#!/usr/bin/env python3
"""A client of Lifeboat: `client.py SOCKET [MAX_BODY]`, one JSON object per line in and out.

Follows docs/protocol.md: "Hello and versions", "Request extensions", "Messages" and "A client's conversation".

    {"call": "echo", "body": 1, "time_left": 5000}    waits for the answer, or the error
    {"request": "parts", "body": 3}                   streams; what is told of it comes as it comes
    {"request": "parts", "body": 3, "restartable": true}
    {"cancel": 2}
"""
from __future__ import annotations

import json
import os
import select
import socket
import sys
from collections import deque
from typing import Any, NamedTuple, NoReturn, Optional

import cbor2

from frames import NONE_SAID, VERSION, Frame, Route, Type, Unusable, receive, send

HELLO_TIMEOUT = 10.0
STREAM, RESTARTABLE = 6, 7  # keys of a request's extensions
LATE, MAY_HAVE_STARTED = 1, 2  # flags
OUTCOMES = {Type.ANSWER, Type.ERROR}
ABOUT_A_REQUEST = OUTCOMES | {Type.PROGRESS, Type.PARTIAL, Type.ATTEMPT_FAILED}


class Refused(Exception):
    """The broker closed the connection and said why."""


class Disconnected(Exception):
    """The connection ended while a request was open: it may have been executed."""


class Told(NamedTuple):
    """What the broker says of a request, or of itself (`DRAIN`, with an id of 0)."""

    type: Type
    route: Route
    body: Any


class Failed(Exception):
    """Every outcome but `ok`."""

    def __init__(self, told: Told) -> None:
        body = told.body
        super().__init__(f"{body['method']}: {body['outcome']}")
        self.outcome: str = body["outcome"]
        self.reason: Optional[dict[str, Any]] = body.get("reason")
        self.attempts: list[dict[str, Any]] = body.get("attempts", [])
        self.executed = bool(self.attempts) or bool(told.route.flags & MAY_HAVE_STARTED)
        self.body = body


class Client:
    def __init__(self, path: str, max_body: int) -> None:
        self.max_body = max_body
        self.last_id = 0
        self.open: set[int] = set()
        self.unread: deque[Told] = deque()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(HELLO_TIMEOUT)
        self.socket.connect(path)
        hello = {"versions": [VERSION], "role": "client", "max_body": max_body, "software": "python-client/1"}
        send(self.socket, [Type.HELLO], cbor2.dumps({**hello, "pid": os.getpid()}))
        frame = self._frame()
        if frame is None or frame.type is not Type.HELLO:
            raise Disconnected("no hello")
        self.broker = frame.control("versions", "role", "max_body")
        if self.broker["role"] != "broker" or VERSION not in self.broker["versions"]:
            raise Disconnected(f"{self.broker['role']} speaks {self.broker['versions']}, this client {[VERSION]}")
        self.max_open: int = (self.broker.get("service") or {}).get("max_in_flight", 65536)
        self.socket.settimeout(None)

    def request(self, method: str, body: Any, time_left: int = NONE_SAID, ext: Optional[dict[int, Any]] = None) -> int:
        """Sends a request and gives its id; `read` tells what becomes of it. `time_left` is in milliseconds."""
        encoded = cbor2.dumps(body)
        if not 1 <= len(method.encode()) <= 255 or len(encoded) > self.broker["max_body"]:
            raise ValueError("the broker would not take this method or body")
        while len(self.open) >= self.max_open:
            self.unread.append(self._told() or self._gone())
        self.last_id += 1
        self.open.add(self.last_id)
        route = Route(self.last_id, time_left=time_left)
        self._send([Type.REQUEST, route.packed(), method] + ([ext] if ext else []), encoded)
        return self.last_id

    def cancel(self, id: int) -> None:
        """The outcome still comes."""
        self._send([Type.CANCEL, Route(id).packed()])

    def call(self, method: str, body: Any, time_left: int = NONE_SAID) -> Any:
        """The answer; every other outcome is raised as `Failed`."""
        id = self.request(method, body, time_left)
        while True:
            told = self._told() or self._gone()
            if told.route.id != id:
                self.unread.append(told)
            elif told.type is Type.ANSWER:
                return told.body
            elif told.type is Type.ERROR:
                raise Failed(told)

    def read(self) -> Optional[Told]:
        """What the broker says next; None when it has closed."""
        return self.unread.popleft() if self.unread else self._told()

    def _told(self) -> Optional[Told]:
        while frame := self._frame():
            if frame.type is Type.DRAIN:
                return Told(frame.type, frame.route, None)
            if frame.type not in ABOUT_A_REQUEST:
                raise Unusable("unexpected", frame.type.name)
            if frame.route.id not in self.open:
                continue
            if frame.type in OUTCOMES:
                self.open.remove(frame.route.id)
            return Told(frame.type, frame.route, _body(frame))
        return None

    def _frame(self) -> Optional[Frame]:
        frame = receive(self.socket, self.max_body)
        if frame is not None and frame.type is Type.REFUSED:
            body = frame.control("code", "message")
            raise Refused(body["code"], body["message"])
        return frame

    def _send(self, header: list[Any], body: bytes = cbor2.dumps(None)) -> None:
        try:
            send(self.socket, header, body)
        except ConnectionError:
            pass  # the next read says why, if the broker did

    def _gone(self) -> NoReturn:
        raise Disconnected(f"with {len(self.open)} requests open")


def _body(frame: Frame) -> Any:
    if frame.type is Type.ERROR:
        return frame.control("outcome", "method")
    if frame.type is Type.ATTEMPT_FAILED:
        return frame.control("number", "end")
    try:
        return frame.opaque()
    except ValueError:
        if frame.type is Type.PROGRESS:
            return {}
        raise


def say(**line: Any) -> None:
    print(json.dumps(line, default=repr), flush=True)


def obey(client: Client, order: dict[str, Any]) -> None:
    if "cancel" in order:
        client.cancel(order["cancel"])
    elif "request" in order:
        ext = {STREAM: True, RESTARTABLE: True} if order.get("restartable") else {STREAM: True}
        say(request=client.request(order["request"], order["body"], ext=ext))
    else:
        try:
            say(answer=client.call(order["call"], order["body"], order.get("time_left", NONE_SAID)))
        except Failed as failed:
            say(error={"executed": failed.executed, **failed.body})
        except ValueError as error:
            say(invalid=str(error))


def show(told: Told) -> None:
    id, attempt, flags, _ = told.route
    message = {"message": told.type.name, "id": id, "attempt": attempt, "late": bool(flags & LATE)}
    say(told={**message, "body": told.body})


def main() -> None:
    client = Client(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16 << 20)
    say(hello=client.broker)
    orders = open(0, "rb", buffering=0)  # a buffer would hide lines from `select`
    both: list[Any] = [client.socket, orders]
    while True:
        ready = [client.socket] if client.unread else select.select(both, [], [])[0]
        if orders in ready:
            line = orders.readline()
            if not line:
                return
            obey(client, json.loads(line))
        else:
            told = client.read()
            if told is None:
                return say(end=True)
            show(told)


if __name__ == "__main__":
    try:
        main()
    except Refused as refused:
        say(refused=list(refused.args))
        sys.exit(1)
