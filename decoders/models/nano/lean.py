"""nano without transformers, whose import takes three times as long as torch's: its own network, and its tokenizer by
the library `tokenizers` alone.

Everything else comes from transformers: `LeanModel.model` and `LeanTokenizer.fast` are the same objects as for any
other checkpoint, created at their first use and used from then on; so are attention weights, `compile`, and everything
that uses them. `Nano.load` takes this path on a CPU for weights that are not quantised; a directory is always read by
transformers (`load_checkpoint`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from torch import Tensor

from decoders.core import SessionSpec, UsageError
from decoders.models.adapter import TransformersModel
from decoders.models.checkpoint import WEIGHTS, check_weights, load_weights, placed
from decoders.models.families import Attention
from decoders.models.ids import forbidden, mask_of, stops_of
from decoders.models.loaded import Loaded
from decoders.models.nano.network import Network
from decoders.models.reading import blamed, line, read_json
from decoders.models.recognition import family_of
from decoders.models.store import Store
from decoders.models.tokenizer import JsonTokenizer, descriptions, no_text, read_tokenizer, roles_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class LeanModel(TransformersModel):
    """A `TransformersModel` whose network is plain torch until transformers' own, `model`, is used. Both give the same
    bits, and a session keeps the network with which it began, unless it stores nothing."""

    running: Any

    def __init__(self, network: Network, read: Callable[[], PreTrainedModel], **how: Any) -> None:
        """`read`: reads the weights into transformers' network. `how` as of `TransformersModel`."""
        self.lean, self.read = network, read
        super().__init__(network, **how)  # type: ignore[arg-type]

    @property
    def network(self) -> Any:
        return self.running

    @property
    def model(self) -> Any:
        """The network of transformers, which is run from now on."""
        if self.running is self.lean:
            self.running = self.read().eval()
        return self.running

    @model.setter
    def model(self, network: Any) -> None:
        self.running = network

    def store(self, spec: SessionSpec, columns: int) -> Store:
        lean = self.running is self.lean and not spec.attention
        return Store(columns, spec.rows) if lean else super().store(spec, columns)

    def states(
        self, tokens: Tensor, position: Tensor, sees: Tensor | None, cache: Store | None = None,
        maps: float | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        lean = self.running is self.lean if cache is None else type(cache) is Store
        if not lean or maps is not None:
            return super().states(tokens, position, sees, cache, maps)
        return self.lean(tokens, position, self.bias(tokens, sees), cache), None


class LeanTokenizer(JsonTokenizer):
    """The tokenizer.json of a directory that has no chat template."""

    chat = None

    def __init__(self, directory: Path) -> None:
        """Raises `UsageError`."""
        self.directory, self.described = directory, descriptions(directory)
        path = directory / "tokenizer.json"
        try:
            core = Tokenizer.from_file(str(path))
        except Exception as e:  # the library raises no narrower type
            raise UsageError(f"{path} cannot be read: {line(e)}") from e
        self.on(core, roles_in(self.described))

    @cached_property
    def fast(self) -> PreTrainedTokenizerFast:  # type: ignore[override]
        """The tokenizer of transformers, whose core is used from now on."""
        made = read_tokenizer(self.directory, self.described[-1])
        self.on(made.backend_tokenizer, self.roles)
        return made


def load_lean(directory: Path, name: str, attention: Attention) -> Loaded:
    """The checkpoint of a directory that is known to hold what `Network` runs, and no chat template, on the CPU in
    float32: as `load_checkpoint` makes it. Raises `UsageError` for files that are missing or damaged."""
    config = read_json(directory / "config.json")
    family = family_of(config, name)
    check_weights(directory)
    mask = mask_of(directory, config, family)
    tokenizer = LeanTokenizer(directory)
    window, fixed = family.blocks(config, attention)
    with blamed(directory / WEIGHTS):
        network = Network.read(config, directory / WEIGHTS)
    vocab = network.config.vocab_size
    stops = stops_of(directory, config, family, vocab, tokenizer)
    never = forbidden(tokenizer, no_text(tokenizer, directory, mask), stops, vocab)
    place = placed("cpu", "auto", None, False)
    model = LeanModel(
        network, lambda: load_weights(directory, config, family, place, False), mask_id=mask, stop_ids=stops,
        block_causal=attention == "block", attention_block=fixed,
    )
    return Loaded(model, tokenizer, name, family.length, window, config["max_position_embeddings"], never)
