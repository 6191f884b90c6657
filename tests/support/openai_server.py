"""A small OpenAI-compatible server for tests: a process of its own on an ephemeral port of 127.0.0.1, with faults on
order.

    python openai_server.py PORT SCRIPT

SCRIPT is JSON: `faults` are served in order, one a request for a completion, before anything is answered well; `always`
is served whenever they are used up; `models` likewise for /v1/models. `together`: hold requests until so many are
there. `lives`: die when asked for more completions than that. A prompt with the word `fault=NAME` has that fault.
Prints its port, and ends by itself after 500 requests or two minutes. GET /log: the requests so far.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG: list[dict] = []
LOCK = threading.Lock()
SCRIPT = json.loads(sys.argv[2])
FAULTS = list(SCRIPT.get("faults", ()))
HELD = threading.Barrier(SCRIPT.get("together", 1))


def thought(prompt: str, seed: int, temperature: float) -> str:
    """What the model thinks: it repeats the words it was asked, and comes to a boundary or two."""
    words = [w for w in prompt.split() if not w.startswith("fault=")]
    return f" {' '.join(words)} seed {seed if temperature else 0} # 42 # 43 </think> 44"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def send(self, status: int, data, **headers) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/log":
            self.send(200, LOG)
            return
        self.note(None)
        if "models" in SCRIPT:
            self.fail(SCRIPT["models"])
        else:
            self.send(200, {"object": "list", "data": [{"id": "tiny"}, {"id": "other"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.note(body)
        HELD.wait(20)
        asked = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        ordered = next((w.removeprefix("fault=") for w in asked.split() if w.startswith("fault=")), None)
        with LOCK:
            if sum(r["body"] is not None for r in LOG) > SCRIPT.get("lives", 500):
                os._exit(9)
            fault = ordered or (FAULTS.pop(0) if FAULTS else SCRIPT.get("always"))
        if fault:
            self.fail(fault)
            return
        words = thought(asked, body["seed"], body["temperature"]).split(" ")
        reason = "stop" if len(words) <= body["max_tokens"] else "length"
        text = " ".join(words[: body["max_tokens"]])
        if not SCRIPT.get("ignores_stop"):
            for stop in body.get("stop", ()):
                text, found, _ = text.partition(stop)
                reason = "stop" if found else reason
        choice = (
            {"text": text}
            if self.path.endswith("/v1/completions")
            else {"message": {"role": "assistant", "content": text}}
        )
        self.send(
            200, {"choices": [{**choice, "finish_reason": reason}], "usage": {"completion_tokens": len(text.split())}}
        )

    def note(self, body) -> None:
        with LOCK:
            LOG.append({
                "at": time.monotonic(), "path": self.path, "authorization": self.headers.get("Authorization"),
                "body": body,
            })
            if len(LOG) > 500:
                os._exit(3)

    def fail(self, fault: str) -> None:
        """A status (`429`, or `429/3` with what stands in Retry-After), or one of the ways below."""
        if fault == "slow":
            time.sleep(20)
        elif fault == "garbage":
            self.send(200, b"<html>not json")
        elif fault == "missing":
            self.send(200, {"object": "chat.completion"})
        elif fault == "null":
            self.send(200, {"choices": [{"message": {"content": None}, "text": None}]})
        elif fault == "surrogate":
            self.send(200, {"choices": [{"message": {"content": "\ud800"}, "text": "\ud800"}]})
        elif fault == "thinking":
            self.send(200, {"choices": [{"message": {"content": None, "reasoning_content": " thought apart"}}]})
        elif fault == "half":
            self.send(200, b'{"choices', Content_Length=4000)
            self.close_connection = True
        else:
            status, _, after = fault.partition("/")
            said = {"error": {"message": f"no,\nas {self.headers.get('Authorization')} should know"}}
            self.send(int(status), said, **({"Retry_After": after} if after else {}))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address) -> None:
        pass  # a client that hangs up is what some tests are about


if __name__ == "__main__":
    timer = threading.Timer(120, os._exit, (4,))
    timer.daemon = True
    timer.start()
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
