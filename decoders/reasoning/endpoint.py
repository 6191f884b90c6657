"""A reasoner behind an OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, or a vendor's.

Fields of requests and replies: the API reference of OpenAI for `/chat/completions`, `/completions` and `/models`, and
the extensions of vLLM's server (`reasoning_content`, older and newer name). The API key comes from an environment
variable and is only sent in the header; redirects are not followed, so it reaches no other host.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from decoders.core import UsageError, option, validate
from decoders.models.loaded import Messages
from decoders.models.reading import line
from decoders.reasoning.base import ReasonerError, Reasoning, named, until
from decoders.reasoning.patience import AttemptError, Patience, retry_after

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

MENDABLE = (408, 425, 429)
"""Statuses below 500 for which a retry may succeed."""
EVERYONES = (401, 402, 403, 404, 405)
"""Statuses that every other prompt would get too."""
SHOWN = 200  # characters of a server's error message


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint: `http://host:port/v1?temperature=0.7&retries=3#model`."""

    url: str = option("", "up to /v1")
    model: str = option("", "its name there; empty: the first that the endpoint lists")
    chat: bool = option(True, "reply to the prompt (chat/completions), or continue it (completions)")
    temperature: float = option(0.0, "0: the likeliest token", min=0)
    key: str = option("OPENAI_API_KEY", "the environment variable that holds the API key; not set: no key is sent")
    retries: int = option(5, "tries after the first", min=0)
    wait: float = option(0.5, "seconds before the second try, doubled before each one more", min=0)
    timeout: float = option(120.0, "seconds for one try", min=0.001)
    patience: float = option(600.0, "seconds for all tries at a prompt", min=0.001)
    parallel: int = option(16, "requests in flight", min=1)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def name(self) -> str:
        return named(self.url, self, ("chat", "temperature")) + (f"#{self.model}" if self.model else "")

    def write(
        self, prompts: Sequence[str | Messages], *, seeds: Sequence[int], boundary: str, budget: int
    ) -> list[Reasoning | ReasonerError]:
        """All requests run at the same time. Raises `UsageError` for errors that are not the endpoint's."""
        try:
            import httpx2
            from anyio.from_thread import start_blocking_portal
        except ImportError:
            raise UsageError(
                "a reasoner behind a URL needs the package httpx2: pip install 'dllm-decoders[remote]'"
            ) from None
        headers = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        how = {"temperature": self.temperature, "max_tokens": budget, **({"stop": [boundary]} if boundary else {})}

        async def all_of_them() -> list[Reasoning | ReasonerError]:
            import anyio

            out: dict[int, Reasoning | ReasonerError] = {}
            free = anyio.CapacityLimiter(self.parallel)

            async def one(i: int, model: str) -> None:
                async with free:
                    try:
                        out[i] = await self.one(client, model, prompts[i], {**how, "seed": seeds[i]}, boundary)
                    except ReasonerError as e:
                        out[i] = e

            async with httpx2.AsyncClient(headers=headers, timeout=None) as client:
                try:
                    model = self.model or await self.ask(client, "GET", "models", None, first_model)
                except ReasonerError as e:
                    return [e] * len(prompts)
                async with anyio.create_task_group() as tasks:
                    for i in range(len(prompts)):
                        tasks.start_soon(one, i, model)
            return [out[i] for i in range(len(prompts))]

        # a loop in a thread of its own: a notebook has one running here, and Ctrl-C ends the wait and with it the
        # requests
        with start_blocking_portal() as portal:
            return portal.call(all_of_them)

    async def one(
        self, client: AsyncClient, model: str, prompt: str | Messages, how: dict[str, Any], boundary: str
    ) -> Reasoning:
        """The reasoning for one prompt. Raises `ReasonerError`."""
        if not self.chat and not isinstance(prompt, str):
            raise ReasonerError(f"{self.name} continues texts, and this prompt is a conversation; leave out chat=false")
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
        body = {"model": model, **({"messages": asked} if self.chat else {"prompt": prompt}), **how}
        began = time.perf_counter()
        path, read = ("chat/completions", reply) if self.chat else ("completions", continuation)
        text, tokens, reason = await self.ask(client, "POST", path, body, read)
        cut = until(text, boundary)
        name = self.name if self.model else f"{self.name}#{model}"
        seconds = time.perf_counter() - began
        return Reasoning(cut, tokens, seconds, "stop" if cut != text else reason, not self.chat, name)

    async def ask(self, client: AsyncClient, method: str, path: str, body: dict[str, Any] | None, read: Any) -> Any:
        """The result of `read` for the reply. Raises `ReasonerError`."""
        import httpx2

        async def once() -> Any:
            try:
                response = await client.request(method, f"{self.url}/{path}", json=body)
            except (httpx2.TransportError, httpx2.DecodingError) as e:
                unreachable = isinstance(e, httpx2.ConnectError | httpx2.ProxyError)
                problem = "cannot be reached" if unreachable else "broke the connection off"
                raise AttemptError(
                    f"{problem}: {line(e)}", "see that the server runs, and try again", everyone=unreachable
                ) from e
            if not response.is_success:
                raise self.refusal(response)
            try:
                return read(response.json())
            except (ValueError, LookupError, TypeError, RecursionError):
                remedy = "see that it is an OpenAI-compatible endpoint, with /v1 in its URL"
                raise AttemptError(
                    f"answered {path} with what is no reply of this API: {self.shown(response.text)}", remedy
                ) from None

        return await Patience(self.retries, self.wait, self.timeout, self.patience).ask(self.name, once)

    def refusal(self, response: Response) -> AttemptError:
        """The error for a status other than success."""
        status = response.status_code
        said = self.shown(message(response))
        again = status in MENDABLE or status >= 500
        wait = retry_after(response.headers.get("Retry-After")) if again else 0.0
        remedy = {
            400: "see whether the prompt is too long for it"
            + (", or take chat=false if it has no chat template" if self.chat else ""),
            401: f"put a valid key into the environment variable {self.key}",
            403: f"put a valid key into the environment variable {self.key}",
            404: "see that the URL ends in /v1, and that it has the model",
            429: "wait, or lower parallel",
        }.get(
            status,
            "try again later"
            if again
            else "give the URL that it redirects to"
            if response.is_redirect
            else "see its log",
        )
        problem = f"says {status}{': ' + said if said else ''}"
        everyone = status in EVERYONES or response.is_redirect
        return AttemptError(problem, remedy, again=again, everyone=everyone, wait=wait)

    @property
    def secret(self) -> str:
        """The API key; empty if there is none. Raises `UsageError` if it cannot stand in a header."""
        found = os.environ.get(self.key, "").strip()
        if not (found.isascii() and found.isprintable()):
            raise UsageError(
                f"the environment variable {self.key} holds no API key: it has characters that no header can hold"
            )
        return found

    def shown(self, text: str) -> str:
        """The beginning of a server's message, in one line and without the key, which some servers repeat."""
        whole = " ".join(text.replace(self.secret, "***").split() if self.secret else text.split())
        return whole if len(whole) <= SHOWN else whole[: SHOWN - 1] + "…"


def message(response: Response) -> str:
    """The error message of a server: in OpenAI's form, those of vLLM and FastAPI, or plain text."""
    try:
        data = response.json()
    except (ValueError, RecursionError):
        return response.text
    found = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or found
    return str(found)


def first_model(data: Any) -> str:
    """The first model in the reply to /models. Raises `LookupError` or `TypeError` if there is none."""
    return checked(data["data"][0]["id"])


def reply(data: Any) -> tuple[str, int | None, str]:
    """Text, tokens and finish reason from the reply to /chat/completions. A server that takes reasoning apart gives it
    beside the content, of which there is none if the text was stopped inside the reasoning. Raises as `first_model`
    does."""
    found = data["choices"][0]["message"]
    thought = found.get("reasoning_content", found.get("reasoning"))
    return checked(found.get("content") or (thought if thought is not None else found["content"])), *spent(data)


def continuation(data: Any) -> tuple[str, int | None, str]:
    """The same from the reply to /completions."""
    return checked(data["choices"][0]["text"]), *spent(data)


def spent(data: Any) -> tuple[int | None, str]:
    """Tokens and finish reason; some servers leave them out."""
    tokens = (data.get("usage") or {}).get("completion_tokens")
    reason = data["choices"][0].get("finish_reason")
    return tokens if isinstance(tokens, int) else None, reason if isinstance(reason, str) else "stop"


def checked(text: Any) -> str:
    """Raises `TypeError` if it is not a text, and `ValueError` if it is not valid Unicode."""
    if not isinstance(text, str):
        raise TypeError(text)
    text.encode("utf-8")
    return text
