"""A hub on this machine: a server with the routes of huggingface.co that fetching a model takes, over directories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandIn:
    """What the hub has, and what it was asked."""

    models: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    token: str = "hf_right"
    """Who says this may read what is gated."""
    breaks: int | None = None
    """Bytes of a larger file after which the connection breaks, where the whole file was asked for."""
    stalls: bool = False
    """Then nothing more comes instead."""
    stalled: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and range of every request."""
    url: str = ""

    def sent(self) -> list[str]:
        """The names of the files that were handed out."""
        return [path.rpartition("/")[2] for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandIn

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        parts = path.strip("/").removeprefix("api/models/").split("/")
        name, route = "/".join(parts[:2]), parts[2:3]
        revision = parts[3] if len(parts) > 3 else "main"
        directory = self.hub.models.get(name)
        if directory is None:
            return self.refuse(401, "RepoNotFound", "Repository Not Found")
        if name in self.hub.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = sorted(p for p in directory.rglob("*") if p.is_file())
        if route in (["revision"], []):
            return self.answer({"id": name, "modelId": name, "sha": COMMIT, "siblings": []})
        if route == ["tree"]:
            return self.answer([
                {"type": "file", "oid": digest(p)[:40], "size": p.stat().st_size, "path": str(p.relative_to(directory))}
                for p in files
            ])
        file = directory.joinpath(*parts[4:])
        if route != ["resolve"] or file not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        self.send_file(file)

    def answer(self, content: object) -> None:
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str) -> None:
        self.send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def send_file(self, file: Path) -> None:
        content = file.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        headers = {"ETag": f'"{digest(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206 if start else 200, content[start:], headers, None if start else self.hub.breaks)

    def send(self, status: int, body: bytes, headers: dict[str, str], breaks: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if breaks is not None and len(body) > breaks:
            body, self.close_connection = body[:breaks], True
            if self.hub.stalls:
                self.wfile.write(body)
                self.hub.stalled.set()
                self.hub.ended.wait(600)
                return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def serving(models: dict[str, Path]) -> Iterator[StandIn]:
    """A hub with these models, by name, as long as the block runs."""
    hub = StandIn(models)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Handler,), {"hub": hub}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may go away in the middle
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
