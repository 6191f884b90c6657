"""What reading any file of a checkpoint needs: JSON, a cause in one line, and transformers kept quiet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decoders.core import UsageError


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `UsageError` if it is missing, damaged or something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is no checkpoint: it has no {path.name}") from None
    except (OSError, ValueError) as e:
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    if not isinstance(found, dict):
        raise UsageError(f"{path} cannot be read: it holds no JSON object")
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from transformers; its own settings come back afterwards."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def line(e: BaseException) -> str:
    """The first line of what an exception says."""
    return next(iter(str(e).splitlines()), "") or type(e).__name__
