"""`Generator.submit` and `stream`: one prompt beside others, its drafts, and options of one call."""

from __future__ import annotations

import asyncio

import pytest

from decoders import Generator, UsageError
from decoders.engine import CancelledError

PROMPT = "Sort: k c x a t"


@pytest.fixture(scope="module")
def nano():
    return Generator("nano", "left_to_right")


def test_drafts_end_in_the_text_that_a_call_gives(nano):
    stream = nano.stream(PROMPT, length=16)
    drafts = list(stream)
    made, (expected,) = stream.result(), nano(PROMPT, length=16)
    assert made == expected
    assert [d.text for d in drafts][-1] == made.text
    assert [d.step for d in drafts] == sorted({d.step for d in drafts})
    assert all(made.text.startswith(d.text) for d in drafts)
    assert len(drafts) >= made.generated_tokens  # one token a forward


def test_what_is_decided_right_of_the_settled_text_is_shown(nano):
    drafts = list(nano.stream("Copy: a b c d e", length=16, decoder="llada:steps=16", ignore_eos=True))
    assert any(piece for d in drafts for piece in d.pieces)
    assert any(piece is None for d in drafts for piece in d.pieces)


def test_streams_of_several_decoders_run_beside_one_another(nano):
    specs = ("llada:steps=16", "threshold:tau=0.5", "left_to_right")
    streams = [nano.submit(PROMPT, length=16, decoder=spec, seed=i) for i, spec in enumerate(specs)]
    for i, (spec, stream) in enumerate(zip(specs, streams, strict=True)):
        (alone,) = Generator(nano.loaded, spec)(PROMPT, length=16, seed=i)
        assert stream.result() == alone
    assert nano.using("llada").service is nano.service


def test_in_an_event_loop(nano):
    async def main():
        first, second = (nano.submit(f"Sort: {x}", length=12) for x in ("c b a", "e d"))
        drafts = [d async for d in first]
        return drafts, await first, await second

    drafts, first, second = asyncio.run(main())
    assert drafts[-1].text == first.text == nano("Sort: c b a", length=12)[0].text
    assert second.text == nano("Sort: e d", length=12)[0].text


def test_cancelling(nano):
    stream = nano.submit(PROMPT, length=400, ignore_eos=True)
    stream.cancel()
    with pytest.raises(CancelledError):
        stream.result()
    with pytest.raises(CancelledError):
        list(stream)


def test_who_stops_waiting_leaves_the_engine_alone(nano):
    async def waited():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(waiting(stream)), 0.01)

    async def waiting(stream):
        return await stream

    async def heard_once():
        async for _ in other:
            return

    stream, other = (nano.submit(PROMPT, length=64, ignore_eos=True) for _ in range(2))
    asyncio.run(waited())
    asyncio.run(heard_once())  # whose loop is closed while drafts come
    assert stream.result() == other.result()
    assert nano.service.thread.is_alive()


def test_mistakes_are_raised_at_once(nano):
    for how, message in (
        ({"prompt": ""}, "empty"), ({"prompt": "a", "decoder": "lada"}, "did you mean 'llada'"),
        ({"prompt": "a", "lenght": 3}, "no option 'lenght'"), ({"prompt": "a", "max_steps": 0}, "at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            nano.submit(**how)


def test_options_of_one_call_are_those_of_a_generator_of_its_own(nano):
    made = nano(PROMPT, length=12, decoder="threshold", cache="none", temperature=1.0, seed=4)
    assert made == Generator(nano.loaded, "threshold:temperature=1.0", "none")(PROMPT, length=12, seed=4)
    assert (made[0].decoder, made[0].cache) == ("threshold:temperature=1.0", "none")
    with pytest.raises(UsageError, match="leave one out"):
        nano("a", decoder="threshold:temperature=1", temperature=1.0)


def test_several_samples_take_the_seeds_after_the_prompts(nano):
    how = {"length": 12, "decoder": "ancestral"}
    made = nano(["Sort: b a c", "Copy: x y"], n=3, seeds=[5, 2**63 - 1], **how)
    least = -(2**63)  # what follows the largest seed
    alone = [("Sort: b a c", 5), ("Sort: b a c", 6), ("Sort: b a c", 7)]
    alone += [("Copy: x y", 2**63 - 1), ("Copy: x y", least), ("Copy: x y", least + 1)]
    assert made == [nano(prompt, seed=seed, **how)[0] for prompt, seed in alone]
    with pytest.raises(UsageError, match="n must be at least 1"):
        nano("a", n=0)


def test_log_probabilities_and_steps_of_commitments(nano):
    (made,) = nano(PROMPT, length=16, logprobs=True)
    assert len(made.logprobs) == len(made.commit_steps) == made.generated_tokens
    assert all(x <= 0 for x in made.logprobs)
    assert made.commit_steps == tuple(range(made.generated_tokens))
    assert {"logprobs", "commit_steps", "revisions"} <= set(made.record())
    (without,) = nano(PROMPT, length=16)
    assert without.logprobs is None
    assert not {"logprobs", "commit_steps"} & set(without.record())
