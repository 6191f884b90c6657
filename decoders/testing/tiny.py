"""A family with a tiny random checkpoint of it, written as real ones lie on a disk and read again as they are."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from decoders.core import UsageError
from decoders.models.families import Family
from decoders.models.loaded import Loaded
from decoders.testing.checkpoints import EOS, EXTRA, MASK, saved_weights, write_json, write_tokenizer
from decoders.testing.telling import Place, is_library

IDS = {"mask_token_id": MASK, "eos_token_id": EOS, "bos_token_id": EXTRA, "pad_token_id": EXTRA}
"""What config.json says of tokens, where the sample does not."""
Back = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
SPREAD = 0.2
"""Standard deviation of the weights, far more than at the start of a training, so that predictions differ."""


class Tiny:
    """A family, the weights of a tiny random model of it, and the checkpoint that holds them. Raises `UsageError` for a
    family that says nothing of a tiny one."""

    def __init__(self, family: Family) -> None:
        if not family.sample:
            raise UsageError(
                f"the family {family.name} has no sample: give it sample={{...}}, what config.json says in a tiny "
                "checkpoint of it"
            )
        self.family = family
        self.read: dict[str, Loaded] = {}

    def __repr__(self) -> str:
        return f"the family {self.family.name}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json: the sample, with type, architecture and ids where it does not name them."""
        f = self.family
        said = {"diffusion_family": f.name} if not f.architectures else {"architectures": [f.architectures[0]]}
        ids = {key: i for key, i in IDS.items() if key != "mask_token_id" or f.mask != "none"}
        return {**({"model_type": f.types[0]} if f.types else {}), **said, **ids, **f.sample}

    @cached_property
    def native(self) -> Any:
        """The class of transformers that runs it, with its config made from config.json. Raises what that raises."""
        from decoders.models.checkpoint import native_class

        cls = native_class(self.config, self.family)
        return cls, cls.config_class(**self.family.settings(self.config, cls.config_class))

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights by the names that transformers gives them; the same in every run."""
        cls, config = self.native
        for part in (config, config.get_text_config()):
            if hasattr(part, "initializer_range"):
                part.initializer_range = SPREAD
        with TemporaryDirectory() as scratch, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return saved_weights(cls(config).eval(), Path(scratch))

    @cached_property
    def back(self) -> list[Back]:
        """The renames of the family, turned round."""
        return [backwards(old, new) for old, new in self.family.renames.items()]

    @cached_property
    def stored(self) -> dict[str, Tensor]:
        """The same by the names that stand in the files of the family."""
        return {renamed(name, self.back): w for name, w in self.weights.items()}

    def load(self, attention: str) -> Loaded:
        """The checkpoint as it is read."""
        if attention not in self.read:
            from decoders.models.checkpoint import load_checkpoint

            with TemporaryDirectory() as scratch:
                self.write(Path(scratch))
                name = self.family.example or self.family.name
                self.read[attention] = load_checkpoint(Path(scratch), name, attention, family=self.family)
        return self.read[attention]

    def write(self, directory: Path) -> None:
        """Into an empty directory: config.json, a tokenizer, weights."""
        from safetensors.torch import save_file

        write_json(directory / "config.json", self.config)
        write_tokenizer(directory)
        save_file(self.stored, directory / "model.safetensors", metadata={"format": "pt"})

    def own(self) -> set[str]:
        """The files in which the family is written."""
        return {place.file for place in (self.located(""),) if place}

    def located(self, part: str) -> Place | None:
        """Where the family is made, or where one of its parts is said there; none if no module holds it."""
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None) or ""
            if not file.endswith(".py") or is_library(file):
                continue
            for name, value in list(vars(module).items()):
                if value is self.family and (place := assigned(file, name, part)):
                    return place
        return None


def assigned(file: str, name: str, part: str) -> Place | None:
    """Where a module assigns a call to a name, or gives an argument of that call."""
    for node in ast.parse(Path(file).read_text("utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in targets):
            given = node.value.keywords if isinstance(node.value, ast.Call) else []
            line = next((k.value.lineno for k in given if k.arg == part), node.lineno)
            return Place(file, line, name)
    return None


_GROUP = re.compile(r"\((?!\?)[^()]*\)")
_SPECIAL = re.compile(r"[.^$*+?{}\[\]|()\\]")


def backwards(pattern: str, replacement: str) -> Back:
    """The way back of a rename: what it makes, and from that what it was made of. Raises `UsageError` for a pattern
    whose matches are not told by its replacement."""
    start, end = ("^" if pattern.startswith("^") else ""), ("$" if pattern.endswith("$") else "")
    bare = pattern.removeprefix("^").removesuffix("$")
    groups = _GROUP.findall(bare)
    literal = [re.sub(r"\\(.)", r"\1", part) for part in _GROUP.split(bare)]
    plain = not any(_SPECIAL.search(re.sub(r"\\\W", "", part)) for part in _GROUP.split(bare))
    made = re.split(r"\\1|\\g<1>", replacement)
    if not plain or len(groups) > 1 or len(made) != len(groups) + 1:
        raise UsageError(
            f"the rename {pattern!r} to {replacement!r} cannot be turned round; a pattern is plain text with at most "
            "one group, which its replacement holds once"
        )
    back = re.compile(start + (groups[0] if groups else "").join(map(re.escape, made)) + end)
    return back, lambda m: m[1].join(literal) if groups else literal[0]


def renamed(name: str, back: list[Back]) -> str:
    """A name of transformers' as the files have it."""
    for pattern, made_of in back:
        new, found = pattern.subn(made_of, name, count=1)
        if found:
            return new
    return name
