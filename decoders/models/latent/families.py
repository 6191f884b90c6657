"""Which models of latents a directory may hold, by its files, and how each is read.

LangFlow's is a checkpoint of transformers' making. Plaid's is four files; those of Diffusion-LM and DiffuSeq are a
training_args.json and weights beside it. Weights may be in safetensors, or as torch saves them, of which nothing but
tensors is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoders.core import UsageError
from decoders.models.latent.model import LatentModel
from decoders.models.latent.words import SourceAndTarget, word_tokenizer
from decoders.models.loaded import Loaded
from decoders.models.reading import blamed, line, read_json, refuse_pointer
from decoders.models.tokenizer import JsonTokenizer, tokenizer_in

if TYPE_CHECKING:
    from decoders.models.latent.bert import BertDiffusion
    from decoders.models.latent.langflow import LangFlow
    from decoders.models.latent.plaid import Plaid

    Net = BertDiffusion | LangFlow | Plaid

Place = Mapping[str, Any]
"""`device` and `dtype`."""
Load = Callable[[Path, str, Place], Loaded]
PLAID = ("model", "embedding_matrix", "noise_schedule", "gamma_bounds")
FREQUENCIES = "model.rotary_emb.inv_freq"
ARGUMENTS = "training_args.json"
COLA = "Cola-DLM", "its latents are those of blocks of a text autoencoder, and no decoder here has that"


def latent_family(directory: Path) -> Load | None:
    """How the model of latents in a directory is read; none: it holds none. Raises `UsageError` for one that is known
    by name and cannot be run."""
    if weights_of(directory, "noise_schedule"):
        return load_plaid
    if (directory / ARGUMENTS).is_file():
        return load_bert
    if not (directory / "config.json").is_file():
        if (directory / "cola_dit").is_dir():
            refuse(*COLA)
        return None
    config = read_json(directory / "config.json")
    if config.get("model_type") == "LangFlow":
        return load_langflow
    if config.get("model_type") == "nano_latent":
        return load_nano_latent
    if str(config.get("model_type")).startswith("cola_"):
        refuse(*COLA)
    made = config.get("architectures")
    if any("DiffusionLM" in str(kind) for kind in (made if isinstance(made, list) else ())):
        refuse("TESS", "its latents are as wide as the vocabulary, at every position")
    if weights_of(directory, "timestep_layer"):
        return load_simplex
    return None


def refuse(name: str, why: str) -> None:
    raise UsageError(f"this is a checkpoint of {name}, which cannot be run here: {why}")


def weights_of(directory: Path, stem: str) -> Path | None:
    """The file of weights of that name, if there is one."""
    return next((p for end in ("safetensors", "pt") if (p := directory / f"{stem}.{end}").is_file()), None)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names to tensors, on the CPU. Raises `UsageError` for a file that holds anything else."""
    refuse_pointer(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)  # which runs no code
    except Exception as e:  # whatever is wrong with a file, it is the file that has to be mended
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise UsageError(f"{path} cannot be read: it does not map names to tensors")
    return dict(found)


def fitted(network: nn.Module, weights: Mapping[str, Tensor], directory: Path, spare: str = r"$^") -> None:
    """Put weights in their places. Raises `UsageError` if they do not fit; those whose names match `spare` are not
    needed."""
    own = network.state_dict()
    weights = {name: x for name, x in weights.items() if not re.search(spare, name)}
    wrong = sorted(own.keys() ^ weights.keys()) or sorted(n for n in own if own[n].shape != weights[n].shape)
    if wrong:
        raise UsageError(
            f"the weights in {directory} do not fit {type(network).__name__}: {len(wrong)} are wrong, the first is "
            f"{wrong[0]}"
        )
    network.load_state_dict(weights)


def put(network: Net, place: Place, stop_ids: tuple[int, ...]) -> LatentModel:
    """The model where it is to run, with the levels as they were learnt in full precision."""
    space = network.space()
    return LatentModel(network.to(**moves(place)), space, stop_ids)


def moves(place: Place) -> dict[str, Any]:
    """How tensors are moved there; a precision that is not named is their own."""
    return {"device": place["device"], "dtype": place["dtype"] if isinstance(place["dtype"], torch.dtype) else None}


def stops(tokenizer: JsonTokenizer, vocab: int) -> tuple[int, ...]:
    return tuple(i for i in tokenizer.ends if i < vocab)


def never(tokenizer: JsonTokenizer, vocab: int) -> tuple[int, ...]:
    """What is no text: the unknown token, and ids that no token has."""
    unknown = tokenizer.named("unk_token")
    return tuple(t for t in (unknown, *tokenizer.absent(vocab)) if t is not None)


def load_langflow(directory: Path, name: str, place: Place) -> Loaded:
    from decoders.models.latent.langflow import LangFlow

    tokenizer, path = tokenizer_in(directory), weights_of(directory, "model")
    if path is None:
        raise UsageError(f"{directory} is no checkpoint: it has no model.safetensors")
    config = read_json(directory / "config.json")
    with blamed(directory / "config.json"):
        network = LangFlow(config)
        positions = int(config["model_length"])
    fitted(network, read_weights(path), directory)
    vocab = len(network.table)
    model = put(network, place, stops(tokenizer, vocab))
    return Loaded(model, tokenizer, name, positions, positions=positions, never=never(tokenizer, vocab))


def load_nano_latent(directory: Path, name: str, place: Place) -> Loaded:
    from decoders.models.latent.nano_model import POSITIONS, NanoLatent, Networks

    tokenizer, path = tokenizer_in(directory), weights_of(directory, "model")
    if path is None:
        raise UsageError(f"{directory} is no checkpoint: it has no model.safetensors")
    with blamed(directory / "config.json"):
        networks = Networks(read_json(directory / "config.json"))
    fitted(networks, read_weights(path), directory)
    space, mask = networks.space(), tokenizer.named("mask_token")
    vocab = len(networks.table)
    model = NanoLatent(networks.to(**moves(place)), space, stops(tokenizer, vocab), mask)
    unsaid = never(tokenizer, vocab) if mask is None else (mask, *never(tokenizer, vocab))
    return Loaded(model, tokenizer, name, 32, positions=POSITIONS, never=unsaid)


def load_plaid(directory: Path, name: str, place: Place) -> Loaded:
    from decoders.models.latent.plaid import Plaid

    tokenizer, files = tokenizer_in(directory), {}
    for part in PLAID:
        path = weights_of(directory, part)
        if path is None:
            raise UsageError(f"{directory} is no checkpoint of Plaid: it has no {part}.pt")
        files[part] = read_weights(path)
    with blamed(directory / "model.pt"):
        network = Plaid(files)
    whole = {f"{part}.{key}": x for part, weights in files.items() for key, x in weights.items()}
    whole.setdefault(FREQUENCIES, network.state_dict()[FREQUENCIES])  # not all versions wrote them
    fitted(network, whole, directory)
    vocab = len(network.table)
    model = put(network, place, stops(tokenizer, vocab))
    return Loaded(model, tokenizer, name, 256, positions=None, never=never(tokenizer, vocab))


def load_bert(directory: Path, name: str, place: Place) -> Loaded:
    from decoders.models.latent.bert import BertDiffusion

    config, path = read_json(directory / ARGUMENTS), trained(directory)
    weights = read_weights(path)
    with blamed(path):
        network = BertDiffusion(weights, config)
    fitted(network, weights, directory, spare=r"^position_ids$")
    listed = directory / "vocab.json"
    plain = not (directory / "tokenizer.json").is_file() and listed.is_file()
    with blamed(listed):
        tokenizer = word_tokenizer(read_json(listed)) if plain else tokenizer_in(directory)
    pairs = "hidden_t_dim" in config
    end = tokenizer.named("sep_token") or tokenizer.named("eos_token")
    vocab = len(network.table)
    model = put(network, place, () if end is None else (end,))
    chat = SourceAndTarget(tokenizer, end) if pairs and end is not None else None
    length = int(config.get("seq_len", 128)) // 2 if pairs else int(config.get("image_size", 8)) ** 2
    return Loaded(
        model, tokenizer, name, length, positions=network.positions, never=never(tokenizer, vocab), chat=chat
    )


def load_simplex(directory: Path, name: str, place: Place) -> Loaded:
    import transformers

    from decoders.models.latent.simplex import BLOCK, SimplexModel

    tokenizer, config = tokenizer_in(directory), read_json(directory / "config.json")
    parts = "embed_sum_layer", "timestep_layer"
    files = {part: weights_of(directory, part) or directory / f"{part}.pt" for part in parts}
    files["model"] = weights_of(directory, "model") or directory / "pytorch_model.bin"
    if lacks := [path for path in files.values() if not path.is_file()]:
        raise UsageError(f"{directory} is no checkpoint of SSD-LM: it has no {lacks[0].name}")
    found = {part: read_weights(path) for part, path in files.items()}
    with blamed(directory / "config.json"):
        model: Any = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**config))
    tied = {"decoder.weight": "roberta.embeddings.word_embeddings.weight", "decoder.bias": "lm_head.bias"}
    with blamed(files["model"]):
        weights = {f"lm_head.{name}": found["model"][of] for name, of in tied.items()} | found["model"]
    fitted(model, weights, directory, spare=r"position_ids$|pooler\.")
    how = moves(place)
    extra = {part: {key: x.to(**how) for key, x in found[part].items()} for part in parts}
    vocab = len(found["model"][tied["decoder.weight"]])
    with blamed(directory / "embed_sum_layer.pt"):
        adapted = SimplexModel(model.to(**how), extra, stops(tokenizer, vocab))
    positions = int(model.config.max_position_embeddings) - int(model.config.pad_token_id) - 1
    return Loaded(adapted, tokenizer, name, 4 * BLOCK, BLOCK, positions, never(tokenizer, vocab))


def trained(directory: Path) -> Path:
    """The weights beside a training_args.json: model.safetensors, or the averaged ones of the longest training."""
    whole = weights_of(directory, "model")
    saved = sorted(directory.glob("ema_*.pt"), key=lambda p: p.stem.rpartition("_")[2].zfill(12))
    if whole is None and not saved:
        raise UsageError(f"{directory} is no checkpoint: it has {ARGUMENTS}, but no ema_*.pt and no model.safetensors")
    return whole or saved[-1]
