"""Case files, read with a check for missing and empty keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from decoders.core import UsageError, suggest

MASK = 63  # the mask token of every model in the data; cases with parameters repeat it


class SkipError(Exception):
    """A case that cannot be replayed; the text says why."""


class MismatchError(Exception):
    """A disagreement with the reference: the reason, and the first forward pass that differs, from 0, if there is
    one."""

    def __init__(self, reason: str, step: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.step = reason, step


class WrongReferenceError(Exception):
    """A bug of the reference that the replay finds although the data does not mention it: the paper's statement, and
    its place in the paper."""


@dataclass(frozen=True)
class Case:
    """One case file."""

    path: Path
    data: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def flagged(self) -> bool:
        """Whether the data says that the reference is wrong here, in more than wasted forward passes."""
        return bool(self.data.get("reference_bug")) and not self.wasted

    @property
    def wasted(self) -> int:
        """Number of forward passes of the reference that decide nothing."""
        return int(self.data.get("wasted_forwards") or 0)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters by the reference's own names; null ones are omitted."""
        return {k: v for k, v in (self.data.get("params") or {}).items() if v is not None}

    @property
    def mask_id(self) -> int:
        return next((int(self.params[k]) for k in ("mask_id", "mask_token_id", "mask_index") if k in self.params), MASK)

    def need(self, *keys: str) -> Any:
        """The value under nested keys. Raises `MismatchError` if the file lacks it."""
        at: Any = self.data
        for key in keys:
            if not isinstance(at, dict) or at.get(key) is None:
                raise MismatchError(f"the case file lacks {'.'.join(keys)}")
            at = at[key]
        return at

    def tensors(self) -> dict[str, Tensor]:
        """The arrays of the case. Raises `MismatchError` if their file is missing."""
        path = self.path.parent / self.need("tensors")
        if not path.is_file():
            raise MismatchError(f"there is no {path.name} beside the case file")
        return load_file(path)


def rows(x: Any) -> list[Any]:
    """A batch of rows, from a batch or from a single flat row."""
    return list(x) if x and isinstance(x[0], list) else [x]


def read(path: Path) -> Case:
    """Raises `MismatchError` if the file is no JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise MismatchError(f"the case file cannot be read: {e}") from e
    if not isinstance(data, dict):
        raise MismatchError("the case file holds no JSON object")
    return Case(path, data)


def find(folder: Path, reference: str | None = None) -> dict[str, list[Path]]:
    """The case files of every reference, or of one. Raises `UsageError` if the folder does not have the expected
    layout."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no directory; give one that holds models/ and cases/")
    flat = (folder / "INDEX.json").is_file() and not (folder / "cases").is_dir()
    cases = folder if flat else folder / "cases"
    if cases != folder:
        for part in ("models", "cases"):
            if not (folder / part).is_dir():
                raise UsageError(
                    f"{folder} has no {part}/; give a directory that holds models/ and cases/<reference>/*.json"
                )
    found = {d.name: sorted(d.glob("*.json")) for d in sorted(cases.iterdir()) if d.is_dir() and d.name != "models"}
    found = {name: paths for name, paths in found.items() if paths}
    if not found:
        raise UsageError(f"{cases} holds no case; cases are cases/<reference>/*.json")
    if reference is not None and reference not in found:
        raise UsageError(f"there are no cases of {reference!r} in {folder}{suggest(reference, found)}")
    return found if reference is None else {reference: found[reference]}
