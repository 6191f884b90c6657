"""A server in this process, on a port of its own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import openai
from uvicorn import Config

from decoders.serve.app import App
from decoders.serve.run import Server, listening
from support.commands import DECODERS


def serving(asgi):
    """The address of an application that is being served in a thread, and how to end it."""
    listener = listening("127.0.0.1", 0)
    server = Server(Config(asgi, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()

    def end():
        server.should_exit = True
        thread.join(120)
        listener.close()
        assert not thread.is_alive()

    return f"http://127.0.0.1:{listener.getsockname()[1]}", end


def started(generator, **how):
    """A running server: its `url`, its `app`, a `client` of OpenAI's and one of plain HTTP; and how to end it."""
    app = App(generator, generator.loaded.name, **how)
    url, stop = serving(app.asgi)
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=how.get("key", "none"), max_retries=0, timeout=60)
    http = httpx.Client(base_url=url, timeout=60)

    def end():
        client.close(), http.close()
        stop()

    return SimpleNamespace(url=url, app=app, client=client, http=http), end


@contextmanager
def running(*more):
    """A server process and where it listens; it is gone at the end."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.Popen([DECODERS, "serve", "--port", "0", *more], stderr=subprocess.PIPE, text=True, env=env)
    try:
        line = done.stderr.readline()
        yield done, re.search(r"http://\S+", line)[0]
    finally:
        done.kill()
        done.communicate()


def until(condition, seconds=60):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never did"
        time.sleep(0.01)
