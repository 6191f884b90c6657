"""Model `decoders` of lm-evaluation-harness."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from decoders import Generator, UsageError, get, get_cache, load
from decoders.likelihood import DRAWS, Likelihood, Scorer
from decoders.specs import split
from decoders.text.encoding import Prompt
from decoders_lm_eval.requests import Wanted, fitted, read, sampled, seeds, wanted, written

log = logging.getLogger(__name__)


class DecodersLM(LM):
    """`--model decoders --model_args pretrained=nano,decoder=threshold,decoder.tau=0.9`.

    `pretrained`: a model as `decoders generate -m` takes it. `decoder`, `cache`: specs; their further options are
    written as `decoder.NAME=VALUE` and `cache.NAME=VALUE`, because commas separate arguments. `length`: positions of an
    answer, instead of the task's `max_gen_toks`. `block`: size of the windows. `mc_num`: draws for each likelihood that
    is estimated. `seed`: the seed of draws and samples; repeats of a request take the seeds after it. All other
    arguments are passed to `load`.

    If a request cannot be answered, a warning gives the reason; its text is then empty, or its answer impossible, and
    the other requests are still run. Raises `UsageError` for errors that concern all requests."""

    def __init__(
        self, pretrained: str = "nano", decoder: str = "threshold", cache: str | None = None, *,
        length: int | None = None, block: int | None = None, guidance: float = 0.0, mc_num: int = DRAWS,
        greedy: bool = True, seed: int = 0, batch_size: int | str = 1, max_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise UsageError(f"batch_size must be a number of prompts, not {batch_size!r}")
        if mc_num < 1:
            raise UsageError(f"mc_num must be at least 1, not {mc_num}")
        if not greedy:
            raise UsageError("whether an answer is the model's own is always found out; leave out greedy")
        policy = part(options, "cache.")
        if policy and cache is None:
            raise UsageError("cache.NAME=VALUE is an option of a cache, and there is none; say cache=NAME too")
        kept = get_cache(cache, **policy) if cache and policy else cache
        own = {key: x for key, x in options.items() if "." not in key}
        if str(own.get("device", "")).startswith("cuda") and not torch.cuda.is_available():
            own.pop("device")  # the harness's own default
        self.decoder, changed = decoder, part(options, "decoder.")
        made = get(decoder, **changed) if changed else decoder
        self.generator = Generator(load(pretrained, **own), made, kept, guidance=guidance)
        self.chosen = {*changed, *split("strategies", decoder)[1]}
        self.guidance, self.length, self.block, self.seed, self.batch = guidance, length, block, seed, int(batch_size)
        self.scorer = Scorer(
            self.generator.loaded, model=self.generator.model, draws=mc_num, batch=self.batch, seed=seed, block=block
        )

    @property
    def tokenizer_name(self) -> str:
        return self.generator.loaded.name

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "the checkpoint's own" if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as a text. Without `add_generation_prompt` its last message is the beginning of the answer,
        which is supported only for likelihoods."""
        if self.generator.loaded.chat is None:
            raise UsageError(f"{self.generator.loaded.name} has no chat template; leave out --apply_chat_template")
        return written(chat_history)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        wants = [wanted(r, self.length, self.generator.loaded.positions) for r in requests]
        prompts, keys, out = self.prompts(requests, wants), seeds(requests, self.seed), [""] * len(requests)
        problems: list[UsageError] = []
        with tqdm(total=len(requests), disable=disable_tqdm, desc="decoders") as bar:
            chats = [not isinstance(prompt, str) for prompt in prompts]
            for (want, chat), group in grouped(list(zip(wants, chats, strict=True))):
                made = self.sampler(want, chat).run(
                    [prompts[i] for i in group], length=want.length, block=self.block, stop=want.ends, batch=self.batch,
                    seeds=[keys[i] for i in group],
                )
                left = set(group)
                for n, result in made:
                    left.remove(group[n])
                    r = requests[group[n]]
                    if isinstance(result, UsageError):
                        log.warning("%s: %s; its answer is empty", name(r), result)
                        problems.append(result)
                    else:
                        out[group[n]] = result.text
                        self.cache_hook.add_partial("generate_until", r.args, result.text)
                    bar.update()
                if left or len(problems) == len(requests):  # the others would fail in the same way, or did
                    raise problems[-1]
        return out

    def prompts(self, requests: Sequence[Instance], wants: Sequence[Wanted]) -> list[Prompt]:
        """The prompts of the requests, cut from the left if they are too long for the model."""
        asked = [read(r.args[0]) for r in requests]
        fit = [fitted(prompt, want.length, self.generator.loaded) for prompt, want in zip(asked, wants, strict=True)]
        if cut := sum(a != b for a, b in zip(asked, fit, strict=True)):
            log.warning("%d prompts are too long for %s and were cut from the left", cut, self.tokenizer_name)
        return fit

    def sampler(self, want: Wanted, chat: bool) -> Generator:
        """A generator with the sampling that a task sets; it applies the chat template only to conversations."""
        g = self.generator
        decoder = sampled(g.decoder, self.decoder, want.sampling, self.chosen)
        return Generator(g.loaded, decoder, g.cache, guidance=self.guidance, chat=chat)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        texts = [(read(r.args[0]), r.args[1]) for r in requests]
        with tqdm(total=len(texts), disable=disable_tqdm, desc="decoders, likelihood") as bar:
            found = self.scorer(texts, bar.update)
        with tqdm(disable=disable_tqdm, desc="decoders, greedy") as bar:
            said = self.scorer.greedy(texts, bar.update)
        self.tell(requests, found)
        out = []
        for r, x, right in zip(requests, found, said, strict=True):
            out.append((-math.inf if isinstance(x, UsageError) else x.nats, right is True))
            self.cache_hook.add_partial("loglikelihood", r.args, out[-1])
        return out

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihoods of whole texts, in nats; that of an empty text is 0."""
        full = [r for r in requests if r.args[0]]
        with tqdm(total=len(full), disable=disable_tqdm, desc="decoders, rolling") as bar:
            found = self.scorer([("", r.args[0]) for r in full], bar.update)
        self.tell(full, found)
        nats = iter([-math.inf if isinstance(x, UsageError) else x.nats for x in found])
        out = [next(nats) if r.args[0] else 0.0 for r in requests]
        for r, x in zip(requests, out, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", r.args, x)
        return out

    def tell(self, requests: Sequence[Instance], found: Sequence[Likelihood | UsageError]) -> None:
        """Log which requests have no likelihood, how many contexts were cut, and the standard errors of estimates."""
        for r, x in zip(requests, found, strict=True):
            if isinstance(x, UsageError):
                log.warning("%s: %s; it counts as impossible", name(r), x)
        good = [x for x in found if isinstance(x, Likelihood)]
        cut, drawn = sum(x.cut > 0 for x in good), [x.error for x in good if x.error != 0]
        if cut:
            log.warning("%d contexts are too long for %s and were cut from the left", cut, self.tokenizer_name)
        if drawn:
            log.info(
                "%d of %d likelihoods are estimates, with a standard error of %.3g nats in the mean and %.3g at most",
                len(drawn), len(good), sum(drawn) / len(drawn), max(drawn),
            )


def name(r: Instance) -> str:
    """The name of a request, for messages."""
    return f"{r.task_name or 'a request'}, document {r.doc_id}" if r.doc_id is not None else "a request"


def part(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The options whose names begin with `prefix`, under their names without it."""
    return {key.removeprefix(prefix): x for key, x in options.items() if key.startswith(prefix)}


def grouped(keys: Sequence[Hashable]) -> Iterator[tuple[Any, list[int]]]:
    """Each key, with the indices at which it occurs."""
    groups: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    yield from groups.items()
