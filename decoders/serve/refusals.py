"""Refusals of requests: an HTTP status and one line, in OpenAI's form of an error."""

from __future__ import annotations

from decoders.core import RowError, UsageError
from decoders.engine import CancelledError, DeadlineError

SYSTEM_ONE = "/v1/systemone"
"""A route whose refusals have another form."""
TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """`param`: the wrong field of the request; `code`: a word for programs."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after

    @property
    def kind(self) -> str:
        return TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")

    @property
    def body(self) -> dict[str, object]:
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}

    def told(self, path: str) -> tuple[dict[str, object], int]:
        """The body and the status of the answer on a path. System One uses 422 for a wrong body."""
        if path != SYSTEM_ONE:
            return self.body, self.status
        if self.status != 400:
            return {"detail": {"error_type": self.kind, "message": str(self)}}, self.status
        where = ["body", *([self.param] if self.param else [])]
        return {"detail": [{"loc": where, "msg": str(self), "type": "value_error"}]}, 422

    @property
    def headers(self) -> dict[str, str]:
        more = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return more if self.retry_after is None else {**more, "Retry-After": str(self.retry_after)}


def refusal(e: Exception) -> RefusedError:
    """The answer to a request that ended in this error. A row that a decoder or a model could not finish is not a
    client error."""
    if isinstance(e, RefusedError):
        return e
    if isinstance(e, CancelledError):
        return RefusedError(503, "the server is stopping", retry_after=5)
    if isinstance(e, DeadlineError):
        return RefusedError(504, str(e))
    if isinstance(e, RowError):
        return RefusedError(500, str(e))
    if isinstance(e, UsageError):
        return RefusedError(400, str(e))
    return RefusedError(500, "an internal error; the server's log says more under the id of this request")
