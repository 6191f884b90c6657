"""A checkpoint directory as a `Loaded`: its config is matched with the family table, its files are checked, its weights
are read.

Nothing is downloaded here (`hub` does that before). Code in a checkpoint is run only for a family that has no other
code, and only if the user allows it: configs are read as JSON and given to transformers' own classes, never to its
`Auto` classes.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from decoders.core import UsageError
from decoders.models.families import Attention, Family
from decoders.models.headers import numbers_in
from decoders.models.ids import edits_of, expand_in, forbidden, mask_of, stops_of
from decoders.models.latent.families import latent_family
from decoders.models.loaded import Loaded
from decoders.models.precision import in_bfloat16
from decoders.models.prequantised import quantisation_of
from decoders.models.quantised import quantise
from decoders.models.reading import blamed, line, quiet, read_json, refuse_mark, refuse_pointer
from decoders.models.recognition import family_of
from decoders.models.tokenizer import home_of_tokenizer, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoders.core import Model
    from decoders.models.adapter import TransformersModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
RENEWS = "compute_default_rope_parameters"
LETTING_GO = 0.1
"""Seconds for the threads of a group of processes to let go of tensors."""
SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")


def load_checkpoint(
    directory: Path, name: str, attention: str = "auto", device: str = "cpu", dtype: str = "auto",
    device_map: str | None = None, tp: bool = False, trust_remote_code: bool = False, quantize: str | None = None,
    family: Family | None = None,
) -> Loaded:
    """Read a checkpoint.

    `dtype`: auto is the stored precision, and on a CPU float32, unless `precision.in_bfloat16`. `device_map`: how
    accelerate spreads the layers over devices. `tp`: one process per device, each with its part of every layer, by
    transformers' own plan. `trust_remote_code`: run the code of the checkpoint, for a family that has no other code.
    `quantize`: the number of bits to which its linear layers are converted after loading (`quantised`). `family`: None
    is the family that its config names.

    Raises `UsageError` if files are missing or damaged, the family is unknown or was not trained for this `attention`,
    the tokenizer lacks the mask token, or a requested device does not exist."""
    refuse_adapter(directory)
    if load := latent_family(directory):
        if attention not in ("auto", "bidirectional") or device_map or tp or trust_remote_code or quantize:
            raise UsageError(
                f"{directory} holds a model of latents, whose options are device and dtype: it sees the whole row, on "
                "one device, and brings no code"
            )
        return load(directory, name, {"device": checked_device(device), "dtype": getattr(torch, dtype, None)})
    config = read_json(directory / "config.json")
    family = family or family_of(config, name)
    stored = quantisation_of(config, name, family)
    if attention != "auto" and attention not in family.attentions:
        raise UsageError(
            f"the family {family.name} knows the attention {' or '.join(family.attentions)}, not {attention!r}"
        )
    chosen = family.attention(name) if attention == "auto" else cast(Attention, attention)
    if stored and (quantize or tp):
        raise UsageError(f"the weights of {name} are quantised already: leave out {'quantize' if quantize else 'tp'}")
    if quantize and (device_map or tp):
        raise UsageError("a model that is quantised on load lies on one device: leave out device_map and tp")
    place = placed(device, dtype, device_map, tp)
    check_weights(directory)
    usual = dtype == "auto" and place["dtype"] is torch.float32 and not (quantize or stored)
    if usual and in_bfloat16(numbers_in(directory)):
        place["dtype"] = torch.bfloat16
        print(f"{name} computes in bfloat16, which this CPU multiplies fast: dtype float32 is the exact way",
              file=sys.stderr, flush=True)
    mask = mask_of(directory, config, family)
    words = home_of_tokenizer(directory, family.tokenizer)
    tokenizer, never = load_tokenizer(words, mask, beyond=family.mask == "last")
    window, fixed = family.blocks(config, chosen)
    model = load_weights(directory, config, family, place, trust_remote_code, stored)
    vocab = int(model.config.get_text_config().vocab_size)
    stop_ids = stops_of(directory, config, family, vocab, tokenizer)
    never = forbidden(tokenizer, (*never, *edits_of(directory, config, tokenizer)), stop_ids, vocab)
    adapted: Model
    with blamed(directory / "config.json"):
        if family.adapter:
            adapted = family.adapter(model, mask, stop_ids)
        else:
            expand = expand_in(directory, config, tokenizer) if chosen == "bidirectional" else None
            adapted = with_masks(model, family, chosen, fixed, mask, stop_ids, expand)
    if quantize:
        quantise(model, quantize)
    positions = getattr(adapted, "positions", getattr(model.config.get_text_config(), "max_position_embeddings", None))
    return Loaded(adapted, tokenizer, name, family.length, window, positions, never, tokenizer.chat)


def with_masks(
    model: PreTrainedModel, family: Family, attention: Attention, block: int | None, mask: int | None,
    stop_ids: tuple[int, ...], expand: int | None = None,
) -> TransformersModel:
    """A model that is run with attention masks; `block`: the block size of its attention, if it is fixed; `expand`: the
    token with which it requests one more position. Raises `UsageError` for an autoregressive model that does not accept
    masks."""
    from decoders.models.adapter import TransformersModel
    from decoders.models.causal import check_attention, check_causal

    if attention == "causal":
        check_attention(model)
    adapted = TransformersModel(
        model, mask_id=mask, stop_ids=stop_ids, shifted=family.shifted or attention == "causal",
        block_causal=attention != "bidirectional", native=not family.remote, attention_block=block,
        causal_context=family.causal_context and attention == "block", causal_shift=family.causal_shift,
        reordered=family.reordered, expand_id=expand,
    )
    if attention == "causal":
        check_causal(adapted)
    return adapted


def refuse_adapter(directory: Path) -> None:
    """Raises `UsageError` for a directory that contains an adapter and not the model."""
    file = directory / "adapter_config.json"
    if file.is_file() and not any((directory / name).is_file() for name in (WEIGHTS, INDEX)):
        base = read_json(file).get("base_model_name_or_path")
        raise UsageError(
            f"{directory} holds an adapter (LoRA) for {base or 'another model'} and no model; merge it into that one "
            "first"
        )


def check_weights(directory: Path) -> None:
    """Raises `UsageError` if there are no safetensors, if a file that the index names is missing, or if a file is not
    in this format."""
    if (directory / WEIGHTS).is_file():
        return check_file(directory / WEIGHTS)
    index = directory / INDEX
    if not index.is_file():
        others = sorted(
            p.name for p in directory.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".pth", ".gguf")
        )
        why = "other formats of weights are not read, because they can run code or lack names"
        if shards := [name for name in others if SHARD.search(name)]:
            why = f"these are {len(shards)} shards, and the index says which weights lie in which: it is needed too"
        had = f", only {(shards or others)[0]}" if others else ""
        raise UsageError(f"{directory} has no {WEIGHTS} and no {INDEX}{had}; {why}")
    refuse_mark(index)
    said = read_json(index)
    shards_of = said.get("weight_map")
    if not isinstance(shards_of, dict) or not all(isinstance(s, str) and Path(s).name == s for s in shards_of.values()):
        raise UsageError(f"{index} cannot be read: its weight_map does not map names to files beside it")
    if not isinstance(said.get("metadata"), dict):  # transformers requires it
        raise UsageError(f"{index} cannot be read: it has no metadata; write \"metadata\": {{}}")
    named = sorted(set(shards_of.values()))
    missing = [s for s in named if not (directory / s).is_file()]
    if missing:
        raise UsageError(f"{directory} lacks {len(missing)} of its {len(named)} shards, the first is {missing[0]}")
    for name in named:
        check_file(directory / name)


def check_file(path: Path) -> None:
    """Raises `UsageError` for a file that cannot be a safetensors file; those begin with the length of their header."""
    refuse_pointer(path)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    size = path.stat().st_size
    if size < 8 + header:
        raise UsageError(f"{path} cannot be read: it is no file of safetensors, or not a whole one ({size} bytes)")


def placed(device: str, dtype: str, device_map: str | None, tp: bool) -> dict[str, Any]:
    """The arguments of `from_pretrained` for devices and precision. Raises `UsageError` for impossible combinations."""
    if tp and device_map:
        raise UsageError("tp and device_map are two ways to use several devices; take one")
    if (tp or device_map) and device != "cpu":
        raise UsageError(f"{'tp' if tp else 'device_map'} places the model itself, so it cannot be put on {device} too")
    if tp and "LOCAL_RANK" not in os.environ:
        raise UsageError("tp needs one process per device: start it with torchrun --nproc-per-node N")
    if (tp or device_map) and importlib.util.find_spec("accelerate") is None:
        raise UsageError(f"{'tp' if tp else 'device_map'} needs the package accelerate: pip install accelerate")
    spread = tp or device_map is not None
    on = checked_device(device)
    slow = on.type == "cpu" and not (spread and torch.accelerator.is_available())
    how: dict[str, Any] = {"dtype": getattr(torch, dtype) if dtype != "auto" else torch.float32 if slow else "auto"}
    return how | (shared() if tp else {"device_map": device_map} if device_map else {"device": on})


def shared() -> dict[str, Any]:
    """The arguments of `from_pretrained` for a model that the processes of torchrun share; this one leaves their group
    when it ends."""
    from transformers.distributed.configuration_utils import DistributedConfig

    atexit.register(leave_group)
    return {"distributed_config": DistributedConfig(tp_size=int(os.environ.get("WORLD_SIZE", "1")))}


def leave_group() -> None:
    """Leave the group of processes that share a model. A thread of gloo may still hold the tensors of the last
    exchange, and needs the interpreter to let go of them: if that is gone, the process aborts."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        time.sleep(LETTING_GO)


def load_weights(
    directory: Path, config: dict[str, Any], family: Family, place: dict[str, Any], trust_remote_code: bool,
    stored: dict[str, Any] | None = None,
) -> PreTrainedModel:
    """The model; `stored`: the quantisation of the weights in the files, if they are quantised. Raises `UsageError` if
    the weights cannot be read, are not those of the family, or need code that is not trusted."""
    if family.remote:
        settings_of(directory, config, family)
        if not trust_remote_code:
            raise UsageError(
                f"{directory} is a checkpoint of the family {family.name}, which only its own code can run; "
                "to run that code say trust_remote_code=true"
            )
    from transformers import GenerationConfig, GenerationMixin

    place = dict(place)
    device = place.pop("device", None)
    if stored and device is not None:  # such a model is put on its device while it is read
        place["device_map"], device = {"": device}, None
    with quiet(), as_in_transformers_4() if family.remote else nullcontext():
        cls = remote_class(directory, config) if family.remote else native_class(config, family)
        try:
            settings = settings_of(directory, config, family)
            native = cls.config_class.from_dict(settings) if family.remote else cls.config_class(**settings)
        except UsageError:
            raise
        except Exception as e:  # transformers checks configs with exceptions of several kinds
            cause = str(e).strip().splitlines()[-1].strip()
            raise UsageError(
                f"{directory / 'config.json'} does not describe weights of a {cls.__name__}: {cause}"
            ) from e
        if stored:
            native.quantization_config = stored
        # it would be looked up in the checkpoint's files, and is not used
        usual = GenerationConfig if issubclass(cls, GenerationMixin) else None
        defaults = getattr(cls, "generation_config_class", usual)
        unread = {"generation_config": defaults()} if defaults else {}
        try:
            model, info = cls.from_pretrained(
                directory, config=native, key_mapping=dict(family.renames) or None, local_files_only=True,
                use_safetensors=True, trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True,
                **unread, **place,
            )
        except Exception as e:  # any error here is an error of the file
            raise UsageError(f"the weights in {directory} cannot be read: {line(e)}") from e
    tied = native.get_text_config().tie_word_embeddings
    spare = f"{family.spare}|^lm_head\\.weight$" if tied else family.spare
    misshapen = [
        f"{name}, {tuple(stored)} where {tuple(made)} is needed" for name, stored, made in info["mismatched_keys"]
    ]
    wrong = sorted(
        [*info["missing_keys"], *(key for key in info["unexpected_keys"] if not re.search(spare, key)), *misshapen]
    )
    if wrong:
        raise UsageError(
            f"the weights in {directory} do not fit {cls.__name__}: {len(wrong)} are wrong, the first is {wrong[0]}"
        )
    loaded: PreTrainedModel = model if device is None else model.to(device)
    return loaded


def settings_of(directory: Path, config: dict[str, Any], family: Family) -> dict[str, Any]:
    """The settings of the class that runs a checkpoint. Raises `UsageError` for an invalid config."""
    known = None if family.remote else native_class(config, family).config_class
    try:
        return family.settings(config, known)
    except UsageError as e:
        raise UsageError(f"{directory}: {e}") from None


def native_class(config: dict[str, Any], family: Family) -> Any:
    """The class of transformers or of this library that runs a checkpoint. Raises `UsageError` if there is none."""
    import transformers

    if family.network:
        return family.network()
    named = config["architectures"][0] if config.get("architectures") else ""
    name = family.native or family.classes.get(named, named)
    cls = getattr(transformers, name, None)
    if cls is None:
        raise UsageError(f"the architecture {name} is not one of transformers {transformers.__version__}")
    return cls


def remote_class(directory: Path, config: dict[str, Any]) -> Any:
    """The class of a checkpoint with its own code, which is run here. Raises `UsageError` if there is no code or if it
    fails.

    Such code was written for transformers 4, and is adapted to transformers 5 here: tied weights have to be a mapping
    (tied heads are not supported), and weights are read before missing ones are initialised, so a class that
    initialises in the old way would overwrite them and leave its rotary frequencies empty."""
    from transformers import PreTrainedModel
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    reference = (config.get("auto_map") or {}).get("AutoModelForCausalLM")
    if not isinstance(reference, str) or "--" in reference:
        raise UsageError(f"{directory / 'config.json'} names no code of its own in auto_map: AutoModelForCausalLM")
    if config.get("tie_word_embeddings"):
        raise UsageError(f"{directory}: its config.json sets tie_word_embeddings, which is not known to this family")
    try:
        cls: Any = get_class_from_dynamic_module(reference, directory, local_files_only=True)
    except Exception as e:  # foreign code may raise anything
        raise UsageError(f"the code in {directory} cannot be run: {type(e).__name__}: {line(e)}") from e
    for c in (x for x in cls.__mro__ if x.__module__ == cls.__module__ and issubclass(x, PreTrainedModel)):
        c._init_weights = PreTrainedModel._init_weights
        if isinstance(getattr(c, "_tied_weights_keys", None), list):
            c._tied_weights_keys = {}
    for c in vars(sys.modules[cls.__module__]).values():  # transformers before 5.20 calls this method of the module
        if isinstance(c, type) and "RotaryEmbedding" in c.__name__ and not hasattr(c, RENEWS):
            setattr(c, RENEWS, staticmethod(unscaled))
    return cls


@contextmanager
def as_in_transformers_4() -> Iterator[None]:
    """Lets code for transformers 4 run: it looks up unscaled rotary frequencies by the name `default`, for which
    transformers 5 has no entry, and its use of deprecated names would cause warnings."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    added = "default" not in ROPE_INIT_FUNCTIONS
    if added:
        ROPE_INIT_FUNCTIONS["default"] = unscaled
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if added:
            del ROPE_INIT_FUNCTIONS["default"]


def unscaled(config: Any, device: Any = None, seq_len: int | None = None, **_: Any) -> tuple[torch.Tensor, float]:
    """Rotary frequencies as transformers 4 computed them under the name `default`, and the scale of the attention."""
    said: dict[str, Any] = getattr(config, "rope_parameters", None) or {}  # code for transformers 5 keeps them there
    theta: float = said.get("rope_theta") or config.rope_theta
    share: float = (
        said["partial_rotary_factor"]
        if "partial_rotary_factor" in said
        else getattr(config, "partial_rotary_factor", 1.0)
    )
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = int(size * share)
    power = torch.arange(0, size, 2, dtype=torch.int64).to(device=device, dtype=torch.float) / size
    return 1.0 / theta**power, 1.0


def checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"the device {name!r} cannot be used: {line(e)}") from e
    return device
