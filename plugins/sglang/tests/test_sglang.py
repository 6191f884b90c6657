"""The plugin in a stand-in of SGLang, or in SGLang's own loops where SGLANG_SOURCE says where they are."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import decoders
from decoders.core import Blocks, Suppress, UsageError, decode

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import standin  # noqa: E402

W = 8
TEXTS = ["Sort: d b a c\n", "Reverse: a b c d e f g h i j k l m n o p\n", "Copy: x\n"]
SPECS = [
    "threshold", "threshold:tau=0.6,temperature=0.8", "sdar:block_steps=4", "llada2",
    "sdar:by=entropy_bounded,temperature=1.0",
]


@pytest.fixture(scope="module")
def nano() -> Any:
    torch.set_num_threads(1)
    return decoders.load("nano", attention="block")


@pytest.fixture(scope="module")
def theirs() -> Any:
    before = {name: m for name, m in sys.modules.items() if name.partition(".")[0] == "sglang"}
    standin.install()
    from decoders_sglang.plugin import register

    standin.load_plugins(register)
    yield sys.modules["sglang.srt.dllm.algorithm"]
    for name in [n for n in sys.modules if n.partition(".")[0] in ("sglang", "decoders_sglang")]:
        del sys.modules[name]
    sys.modules.update(before)


def config(name: str, fdfo: bool, **options: Any) -> Any:
    return SimpleNamespace(
        algorithm=name, algorithm_config=options, block_size=W, mask_id=1, max_running_requests=8,
        first_done_first_out_mode=fdfo
    )


@pytest.mark.parametrize("fdfo", [False, True], ids=["sync", "fdfo"])
@pytest.mark.parametrize("spec", SPECS)
def test_tokens_are_the_librarys(theirs: Any, nano: Any, spec: str, fdfo: bool) -> None:
    prompts = [nano.tokenizer.encode(t) for t in TEXTS]
    reqs = [standin.Req(str(i), p, 3 * W - len(p) % W, 7 + i) for i, p in enumerate(prompts)]  # rows of whole blocks
    together = standin.serve(theirs.get_algorithm(config(spec, fdfo)), nano.model, reqs)
    for r in reqs:
        row = decode(
            nano.model, decoders.get(spec), [r.prompt], length=r.length, seeds=[r.seed], windows=Blocks(W), stop=False,
            rules=[Suppress((1,))],
        )[0]
        assert together[r.rid] == list(row.canvas[len(r.prompt) :])


def test_its_own_algorithms_stay(theirs: Any) -> None:
    for name, cls in theirs.algo_name_to_cls.items():
        assert theirs.get_algorithm_cls(name) is cls


def test_options_come_from_the_file_and_the_spec(theirs: Any) -> None:
    made = theirs.get_algorithm(config("threshold:tau=0.5", True, tau=0.7, temperature=0.3, seed=4, stop_ids=[0]))
    assert (made.decoder.tau, made.decoder.temperature, made.seed, made.stop_ids) == (0.5, 0.3, 4, (0,))


@pytest.mark.parametrize(("spec", "said"), [
    ("treshold", "did you mean 'threshold'"), ("threshold:tow=1", "has no option 'tow'"),
    ("s2d2", "from the left alone"), ("fast-dllm", "the cache is SGLang's"), ("hybrid", "lays out the row itself"),
])
def test_what_it_cannot_host_is_refused_at_launch(theirs: Any, spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        theirs.get_algorithm_cls(spec).configure_server_args(SimpleNamespace())
