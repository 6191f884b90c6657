"""A server in this process, on a port of its own."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import httpx
import openai
from uvicorn import Config

from decoders.serve.app import App
from decoders.serve.run import Server, listening


def started(generator, **how):
    """A running server: its `url`, its `app`, a `client` of OpenAI's and one of plain HTTP; and how to end it."""
    app, listener = App(generator, generator.loaded.name, **how), listening("127.0.0.1", 0)
    server = Server(Config(app.asgi, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=how.get("key", "none"), max_retries=0, timeout=60)
    http = httpx.Client(base_url=url, timeout=60)

    def end():
        server.should_exit = True
        client.close(), http.close()
        thread.join(30)
        listener.close()
        assert not thread.is_alive()

    return SimpleNamespace(url=url, app=app, client=client, http=http), end


def until(condition, seconds=10):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never did"
        time.sleep(0.01)
