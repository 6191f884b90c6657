"""DiffusionGemma, a tiny random one, with strategies in place of vLLM's own sampler."""

from __future__ import annotations

from typing import Any

import pytest
from engines import Served, engine
from vllm.exceptions import VLLMValidationError

import decoders

SPECS = (
    "gemma:block_steps=4,bound=2.0", "gemma:block_steps=7,confidence=9.0,bound=3.0,t_max=2.0",
    "block_refinement:block_steps=4", "uniform_ddim:steps=12", "threshold:tau=0.3,temperature=1.0",
    "sdar:block_steps=3,temperature=0.7",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    import tiny

    directory = tiny.write(tmp_path_factory.mktemp("checkpoints") / "gemma", "diffusion_gemma")
    return Served(engine(directory, max_model_len=192, max_num_batched_tokens=48), decoders.load(str(directory)))


@pytest.mark.parametrize("stop", [True, False])
def test_equals_the_librarys_loop(served: Served, made: Any, stop: bool) -> None:
    """Prompts within a canvas, and longer than a page and a chunk; rows of several canvases."""
    mixed = [(made(n, n), spec, length) for spec in SPECS for n in (1, 21, 64) for length in (40, 19)]
    expected = [served.own(spec, p, length, seed=7, stop=stop) for p, spec, length in mixed]
    assert len({tuple(x) for x in expected}) > len(SPECS)
    asked = [(p, served.params(spec, length, seed=7, ignore_eos=not stop)) for p, spec, length in mixed]
    assert served.tokens(asked) == expected
    assert served.tokens(asked[:1]) == expected[:1]


def test_ids_without_text_are_never_generated(served: Served, made: Any) -> None:
    asked = [(made(9, i), served.params("block_refinement:temperature=20.0", 32, ignore_eos=True)) for i in range(4)]
    found = [t for x in served.run(asked) for t in x.token_ids]
    assert len(found) == 4 * 32
    assert all(served.loaded.tokenizer.core.id_to_token(t) for t in found)


def test_a_canvas_is_conditioned_on_its_last_prediction(
    served: Served, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without, the tokens are others: the checkpoint of these tests does read what it said."""
    host = served.llm.llm_engine.model_executor.driver_worker.model_runner.model_state
    p, spec = made(21, 3), SPECS[0]
    monkeypatch.setattr(host, "condition", lambda *args: None)
    host.soft.zero_()
    (found,) = served.tokens([(p, served.params(spec, 40, ignore_eos=True))])
    assert found != served.own(spec, p, 40, stop=False)


def test_prefixes_are_found_again(served: Served, made: Any) -> None:
    """A second turn reads the pages of the first one's prompt; of sliding layers vLLM keeps no others."""
    first = made(41, 10)
    (answer,) = served.tokens([(first, served.params(SPECS[0], 39, ignore_eos=True))])
    second = [*first, *answer, *made(9, 11)]
    params = served.params(SPECS[1], 20, ignore_eos=True)
    done = served.llm.generate([{"prompt_token_ids": second}], [params], use_tqdm=False)[0]
    assert done.num_cached_tokens == 32
    assert list(done.outputs[0].token_ids) == served.own(SPECS[1], second, 20, stop=False)


@pytest.mark.parametrize(
    ("spec", "more", "line"),
    [
        ("t2m", {}, "needs a model with a mask token"), ("hybrid:budget=5", {}, "whole canvases"),
        ("left_to_right", {}, "makes causal forward passes"),
        ("gemma", {"infill": [3, 4]}, "infill needs a mask token"),
    ],
)
def test_what_it_cannot_hold(served: Served, spec: str, more: dict[str, Any], line: str) -> None:
    with pytest.raises(VLLMValidationError, match=line):
        served.tokens([([5, 6], served.params(spec, 8, **more))])
