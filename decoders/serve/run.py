"""The process: its socket, its signals, and its end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from decoders.core import UsageError
from decoders.files import why
from decoders.serve.front import Lines
from decoders.serve.replies import LOG

DROPPED = 1
"""Exit code if requests were not answered."""


class Server(uvicorn.Server):
    """After a first SIGTERM or SIGINT the server ends when its requests have been answered, and after a second at
    once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
            os.write(2, b"Stopped; what was not answered is dropped.\n")
            os._exit(DROPPED)
        self.should_exit = True
        LOG.info("draining")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own, this does not raise the signal again at the end, because a requested end is a success.
        Only the main thread handles signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Raises `UsageError`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as e:
        raise UsageError(f"cannot listen on {host}:{port}: {why(e)}") from e


def serve(app: ASGIApp, listener: socket.socket, level: str) -> None:
    """Answer requests until a signal arrives."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name, at in ((LOG.name, level.upper()), ("uvicorn.error", "WARNING"), ("ray.serve", "WARNING")):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(at)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
    Server(config).run(sockets=[listener])
