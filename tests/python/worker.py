#!/usr/bin/env python3
"""A worker of Lifeboat with one slot: reads the connection before each request and between a handler's steps.

Follows docs/protocol.md: "Hello and versions", "Messages" and "A worker's conversation".
"""
from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, NamedTuple, Optional

import cbor2

from frames import VERSION, Frame, Route, Type, Unusable, receive, send

HELLO_BODY = 65536
PROGRESS_TEXT = 1024
SAVED = 1 << 20


class Failure(Exception):
    """The handler says no."""

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, "details": details}


class Cancelled(Exception):
    """The handler stops because it was told to."""


class Gone(Exception):
    """The connection has ended."""


class Worker:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.max_body = HELLO_BODY
        self.writing = threading.Lock()
        self.held: deque[Frame] = deque()  # the first one is executed
        self.cancelled: set[tuple[int, int]] = set()  # ids and attempts of those held
        self.histories: dict[tuple[int, int], dict[str, Any]] = {}  # the same of those held that were tried before
        self.stopping = False
        self.bell, ringer = socket.socketpair()  # a signal makes it readable, and so ends `notice`
        ringer.setblocking(False)
        signal.set_wakeup_fd(ringer.detach())
        signal.signal(signal.SIGTERM, self._sigterm)

    def _sigterm(self, *_: Any) -> None:
        self.stopping = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def greet(self) -> None:
        frame = self._frame()
        if frame.type is not Type.HELLO:
            raise Unusable("unexpected", f"{frame.type.name} before the hello")
        broker = frame.control("versions", "role", "max_body")
        if broker["role"] != "broker":
            raise Unusable("not_allowed", f"the other side is a {broker['role']}")
        if VERSION not in broker["versions"]:
            raise Unusable("unsupported_version", f"this worker speaks version {VERSION}")
        assignment: dict[str, Any] = broker.get("assignment") or {}
        self.max_body = broker["max_body"]
        self.prefetch = assignment.get("prefetch", 1)
        self.broker_saves = "save" in (broker.get("features") or [])
        hello = {"versions": [VERSION], "role": "worker", "max_body": self.max_body, "software": "python-worker/1"}
        worker = {"methods": list(METHODS), "slots": 1}
        features = ["heartbeat", "history"]
        self.say([Type.HELLO], {**hello, "features": features, "pid": os.getpid(), "worker": worker})
        if every := assignment.get("heartbeat_ms", 0):
            threading.Thread(target=self._beat, args=[every / 1000], daemon=True).start()

    def _beat(self, every: float) -> None:
        never = threading.Event()
        while not never.wait(every):
            try:
                self.say([Type.HEARTBEAT])
            except Gone:
                return

    def serve(self) -> None:
        """Executes requests until the broker or SIGTERM says to stop; what has not started then is dropped."""
        while not self.stopping:
            self.notice(0 if self.held else None)
            if self.held and not self.stopping:
                self._execute(Task(self, self.held[0].route), self.held[0])
                done = self.held.popleft().route[:2]
                self.cancelled.discard(done)
                self.histories.pop(done, None)

    def _execute(self, task: Task, request: Frame) -> None:
        try:
            self.check(task.route)
            self.reply([Type.ANSWER, task.end], reply_of(task, request))
        except Failure as failure:
            if len(cbor2.dumps(failure.body)) > self.max_body:
                failure.body["details"] = None
            self.say([Type.FAILURE, task.end], failure.body)
        except Cancelled:
            self.say([Type.CANCELLED, task.end])
        except (Gone, Unusable):
            raise
        except Exception as error:  # a bug of the handler retires its slot, which is the only one
            self.say([Type.PANICKED, task.end], {"message": repr(error)})
            self.leave([Type.WORKERS_FAILED], {"reasons": [repr(error)]})
            sys.exit(1)

    def notice(self, seconds: Optional[float]) -> None:
        """Takes what the broker has sent; waits for it so long, or, with None, for ever. A signal ends it."""
        while ready := select.select([self.connection, self.bell], [], [], seconds)[0]:
            if self.bell in ready:
                self.bell.recv(64)
                return  # `serve` looks at it before another request is read
            if self.connection in ready:
                self._take(self._frame())
            seconds = 0

    def _take(self, frame: Frame) -> None:
        if frame.type is Type.REQUEST:
            if frame.route.slot != 0 or len(self.held) >= self.prefetch:
                raise Unusable("unexpected", "a request for no slot of this worker, or one too many")
            self.held.append(frame)
        elif frame.type is Type.HISTORY:
            self.histories[frame.route[:2]] = frame.control()
        elif frame.type is Type.CANCEL:
            if frame.route[:2] in {request.route[:2] for request in self.held}:
                self.cancelled.add(frame.route[:2])
        elif frame.type is Type.DRAIN:
            self.stopping = True
        else:
            raise Unusable("unexpected", frame.type.name)

    def check(self, route: Route) -> None:
        if route[:2] in self.cancelled:
            raise Cancelled

    def _frame(self) -> Frame:
        frame = receive(self.connection, self.max_body)
        if frame is None:
            raise Gone("the broker has closed the connection")
        if frame.type is Type.REFUSED:
            raise Gone(f"the broker refuses this worker: {frame.control()}")
        return frame

    def say(self, header: list[Any], body: Any = None) -> None:
        self._write(header, cbor2.dumps(body))

    def reply(self, header: list[Any], body: Any) -> None:
        """Says all of a reply, or a part."""
        encoded = cbor2.dumps(body)
        if len(encoded) > self.max_body:
            raise Failure("reply_too_large", f"{len(encoded)} bytes, and the broker takes {self.max_body}")
        self._write(header, encoded)

    def _write(self, header: list[Any], body: bytes) -> None:
        with self.writing:
            try:
                send(self.connection, header, body)
            except OSError as error:
                raise Gone(str(error)) from error

    def leave(self, header: list[Any], body: dict[str, Any]) -> None:
        """Says the last word: no heartbeat comes after it."""
        with self.writing:
            send(self.connection, header, cbor2.dumps(body))
            self.connection.shutdown(socket.SHUT_WR)


class Task(NamedTuple):
    """What a handler may do beside answering."""

    worker: Worker
    route: Route

    @property
    def end(self) -> bytes:
        return Route(self.route.id, self.route.attempt).packed()

    def progress(self, done: int, total: int, text: str) -> None:
        cut = text.encode()[:PROGRESS_TEXT].decode(errors="ignore")
        self.worker.say([Type.PROGRESS, self.end], {"done": done, "total": total, "text": cut})

    def partial(self, body: Any) -> None:
        self.worker.reply([Type.PARTIAL, self.end], body)

    def save(self, value: Any) -> None:
        """Leaves it for the next attempt."""
        if not self.worker.broker_saves:
            raise Failure("not_saved", "the broker is too old")
        if (length := len(cbor2.dumps(value))) > SAVED:
            raise Failure("not_saved", f"{length} bytes, and the broker keeps {SAVED}")
        self.worker.reply([Type.SAVE, self.end], value)

    def saved(self) -> Any:
        saved = self.history().get("saved")
        return None if saved is None else cbor2.loads(saved)

    def history(self) -> dict[str, Any]:
        return self.worker.histories.get(self.route[:2], {})

    def heed(self, seconds: float = 0) -> None:
        """Between two steps: ends the handler if its request was cancelled. Waits for that up to so long."""
        self.worker.notice(seconds)
        self.worker.check(self.route)


def echo(_: Task, body: Any) -> Any:
    return body


def double(_: Task, body: Any) -> Any:
    return [body, body]


def fail(_: Task, body: Any) -> Any:
    raise Failure("said_no", "as it was asked to", details=body)


def parts(task: Task, count: int) -> Any:
    for number in range(count):
        task.heed()
        task.progress(number, count, f"part {number} of {count}")
        task.partial({"number": number})
    return {"parts": count}


def sleep(task: Task, milliseconds: int) -> Any:
    task.progress(0, 1, "asleep")
    end = time.monotonic() + milliseconds / 1000
    while (left := end - time.monotonic()) > 0:
        task.heed(left)
    return {"slept": milliseconds}


def crash(task: Task, attempts: int) -> Any:
    """Gives a part of its reply, and kills its process in so many attempts."""
    task.partial("about to die")
    if task.route.attempt <= attempts:
        os.kill(os.getpid(), signal.SIGSEGV)
    return {"attempt": task.route.attempt}


def steps(task: Task, wanted: dict[str, Any]) -> Any:
    """Saves after each step which attempt did it, and kills its process when some are done; the next attempt goes on."""
    done = task.saved() or []
    while len(done) < wanted["steps"]:
        done.append(task.route.attempt)
        task.save(done)
        if len(done) in wanted["dies"]:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"steps": done, "previous": task.history().get("previous", [])}


def broken(_: Task, body: dict[str, Any]) -> Any:
    return body["missing"]


# What a method is called, what its body must be, and its handler.
METHODS: dict[str, tuple[type, Callable[[Task, Any], Any]]] = {
    "echo": (object, echo),
    "double": (object, double),
    "fail": (object, fail),
    "parts": (int, parts),
    "sleep": (int, sleep),
    "crash": (int, crash),
    "steps": (dict, steps),
    "broken": (dict, broken),
}


def reply_of(task: Task, request: Frame) -> Any:
    method = request.rest[0]
    if method not in METHODS:
        raise Failure("unknown_method", f"there is no handler for {method}")
    wanted, handler = METHODS[method]
    try:
        body = request.opaque()
    except ValueError as error:
        raise Failure("bad_request", str(error)) from error
    if not isinstance(body, wanted):
        raise Failure("bad_request", f"{method} takes {wanted.__name__}")
    return handler(task, body)


def connection() -> socket.socket:
    """This process's end of the connection; without one the program says so and exits."""
    try:
        found = socket.socket(fileno=int(os.environ["LIFEBOAT_FD"]))
    except (KeyError, ValueError, OSError) as error:
        sys.exit(f"not started by a broker: {error!r}")
    if (found.family, found.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        found.detach()
        sys.exit("not started by a broker: LIFEBOAT_FD is no Unix stream socket")
    found.set_inheritable(False)
    return found


def main() -> None:
    worker = Worker(connection())
    try:
        worker.greet()
        worker.serve()
    except Unusable as unusable:
        worker.leave([Type.REFUSED], {"code": unusable.code, "message": unusable.message})
        sys.exit(str(unusable))
    except Gone as gone:
        if not worker.stopping:
            sys.exit(str(gone))


if __name__ == "__main__":
    main()
