"""Model `decoders` of lm-evaluation-harness."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from torch import Tensor
from tqdm import tqdm

from decoders import Generator, get, get_cache, load
from decoders.core import Exact, Plan, Shape, UsageError, Whole, decode, layout, prepare, session_spec
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.llada import LLaDA
from decoders.text.records import or_raise

GREEDY = {"do_sample": False, "temperature": 0.0, "top_p": 1.0, "top_k": 0}
"""What tasks say of sampling where they ask for none."""
LENGTH = 256
"""Positions of an answer where neither the task nor anybody else says otherwise: the harness's own default."""


class DecodersLM(LM):
    """`--model decoders --model_args pretrained=nano,decoder=threshold,decoder.tau=0.9`.

    `pretrained`: what `decoders generate -m` takes. `decoder`, `cache`: specs; further options of them as `decoder.NAME=VALUE` and
    `cache.NAME=VALUE`, as commas stand between arguments. `length`: positions of an answer, instead of the task's `max_gen_toks`.
    `block`: size of the windows. `mc_num`: samples of the likelihood. `greedy`: find out for the likelihoods whether the answer is what
    the model says itself, at one forward a token; otherwise the harness hears that it is not. What else is given goes to loading.

    Likelihoods are the Monte Carlo bound of Nie et al. 2025, 2502.09992, Algorithm 3: of an answer of L tokens, l are masked, l being
    uniform in 1 to L, and L / l times the log-probability of those is averaged. Raises `UsageError`."""

    def __init__(
        self, pretrained: str = "nano", decoder: str = "threshold", cache: str | None = None, *, length: int | None = None,
        block: int | None = None, guidance: float = 0.0, mc_num: int = 128, greedy: bool = False, seed: int = 0,
        batch_size: int | str = 1, max_batch_size: int | None = None, **options: Any,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise UsageError(f"batch_size must be a number of prompts, not {batch_size!r}")
        if mc_num < 1:
            raise UsageError(f"mc_num must be at least 1, not {mc_num}")
        policy = part(options, "cache.")
        if policy and cache is None:
            raise UsageError("cache.NAME=VALUE is an option of a cache, and there is none; say cache=NAME too")
        kept = get_cache(cache, **policy) if cache and policy else cache
        own = {key: x for key, x in options.items() if "." not in key}
        if str(own.get("device", "")).startswith("cuda") and not torch.cuda.is_available():
            own.pop("device")  # what the harness says where nobody said anything
        written = get(decoder, **changed) if (changed := part(options, "decoder.")) else decoder
        self.generator = Generator(load(pretrained, **own), written, kept, guidance=guidance)
        self.text = Generator(self.generator.loaded, self.generator.decoder, self.generator.cache, guidance=guidance, chat=False)
        self.length, self.block, self.mc_num, self.greedy, self.seed = length, block, mc_num, greedy, seed
        self.batch = int(batch_size)
        self.templated = False

    @property
    def tokenizer_name(self) -> str:
        return self.generator.loaded.name

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "the checkpoint's own" if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as it is: its template makes token ids of it, not a text."""
        if self.generator.loaded.chat is None:
            raise UsageError(f"{self.generator.loaded.name} has no chat template; leave out --apply_chat_template")
        if not add_generation_prompt:
            raise UsageError("an answer that is begun in the last message is not known here; leave out the task's gen_prefix")
        self.templated = True
        return json.dumps(chat_history)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        out: dict[int, str] = {}
        with tqdm(total=len(requests), disable=disable_tqdm, desc="decoders") as bar:
            for (ends, length), group in grouped(requests, self.wanted):
                generator, read = (self.generator, json.loads) if self.templated else (self.text, str)
                prompts = [read(requests[i].args[0]) for i in group]
                for n, made in generator.run(
                    prompts, length=length, block=self.block, stop=ends, seed=self.seed, batch=self.batch
                ):
                    text = out[group[n]] = or_raise(made).text
                    self.cache_hook.add_partial("generate_until", requests[group[n]].args, text)
                    bar.update()
        return [out[i] for i in range(len(requests))]

    def wanted(self, r: Instance) -> tuple[tuple[str, ...], int]:
        """Stop strings and length of a request. Raises `UsageError` for sampling, which is the decoder's."""
        said = r.args[1]
        for key, off in GREEDY.items():
            if said.get(key, off) not in (off, None):
                raise UsageError(f"the task asks for {key}={said[key]}; how tokens are chosen is the decoder's: decoder.temperature=0.7")
        until = said.get("until") or ()
        length = self.length or said.get("max_gen_toks") or said.get("max_tokens") or min(LENGTH, self.generator.loaded.positions or LENGTH)
        return tuple(x for x in ([until] if isinstance(until, str) else until) if x), int(length)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return [self.likelihood(*r.args) for r in tqdm(requests, disable=disable_tqdm, desc="decoders, likelihood")]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        return [self.likelihood("", *r.args)[0] for r in tqdm(requests, disable=disable_tqdm, desc="decoders, likelihood")]

    @torch.inference_mode()
    def likelihood(self, context: str, answer: str) -> tuple[float, bool]:
        """The bound on log p(answer | context), in nats, and whether greedy decoding gives the answer. Raises `UsageError`."""
        model, loaded = self.generator.model, self.generator.loaded
        if model.block_causal or model.mask_id is None:
            raise UsageError(
                f"likelihoods are estimated for masked models in which everything sees everything, and {loaded.name} is none; take tasks "
                "that generate"
            )
        given, tokens = self.split(context, answer)
        if not tokens:
            raise UsageError("there is no likelihood of an empty answer")
        if loaded.positions is not None and len(given) + len(tokens) > loaded.positions:
            raise UsageError(f"a text has {len(given) + len(tokens)} tokens, beyond the {loaded.positions} of {loaded.name}")
        draws = torch.Generator().manual_seed(self.seed)  # the same for all answers of a length, so that choices are compared alike
        truth, total = torch.tensor([*given, *tokens]), 0.0
        for some in batched(range(self.mc_num), self.batch):
            total += float(self.terms(truth, len(given), len(some), draws).sum())
        greedy = self.greedy and list(decode(model, LLaDA(), [given], length=len(tokens), stop=False)[0].canvas[len(given) :]) == tokens
        return total / self.mc_num, greedy

    def terms(self, truth: Tensor, start: int, n: int, draws: torch.Generator) -> Tensor:
        """(n,) samples of the bound, for the tokens from `start` on."""
        model, L = self.generator.model, len(truth) - start
        count = torch.randint(1, L + 1, (n,), generator=draws)
        order = torch.rand(n, L, generator=draws).argsort(-1).argsort(-1)
        hidden = torch.nn.functional.pad(order < count[:, None], (start, 0))
        rows = torch.where(hidden, model.mask_id or 0, truth)
        plan = Plan(Threshold(), Whole(), Exact())  # whose query is what every open position is predicted to be
        if bool((truth == model.mask_id).any()):
            raise UsageError("a text holds the mask token, so its likelihood cannot be estimated by masking")
        c = layout(
            Shape.of(model), plan.decoder, rows.tolist(), length=0, keys=[0] * n, windows=plan.windows, infill=True, device=model.device,
        )
        f = prepare(plan, c)
        p = model.session(session_spec(plan, c))(f)
        target = torch.nn.functional.pad(truth, (0, 1)).to(f.at.device).expand(n, -1).gather(1, f.at)
        log_p = p.prob(target).clamp(min=torch.finfo(torch.float32).tiny).log()
        return L / count * torch.where(f.want, log_p, 0.0).sum(-1).cpu()

    def split(self, context: str, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of both. Where the tokenizer joins the end of the context with the answer, blanks there go to the answer."""
        encode = self.generator.loaded.tokenizer.encode
        alone, both = encode(context), encode(context + answer)
        if both[: len(alone)] == alone:
            return alone, both[len(alone) :]
        bare = context.rstrip()
        given, whole = encode(bare), encode(bare + context[len(bare) :] + answer)
        return whole[: len(given)], whole[len(given) :]


def batched(items: Iterable[int], size: int) -> Iterator[list[int]]:
    """So many at a time."""
    whole = list(items)
    return (whole[i : i + size] for i in range(0, len(whole), size))


def part(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Those options whose names begin so, without that."""
    return {key.removeprefix(prefix): x for key, x in options.items() if key.startswith(prefix)}


def grouped(requests: Sequence[Instance], key: Any) -> Iterator[tuple[Any, list[int]]]:
    """The numbers of requests that want the same, each group with what it wants."""
    keys = [key(r) for r in requests]
    order = sorted(range(len(requests)), key=lambda i: keys[i])
    for k, group in groupby(order, key=lambda i: keys[i]):
        yield k, list(group)
