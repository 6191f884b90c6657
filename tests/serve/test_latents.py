"""A model of latents behind the server: its drafts are streamed, and its rows share forwards."""

from __future__ import annotations

from decoders import Generator

SORT = "Sort: d b a c"
SHUFFLE = "Shuffle: d b a c e f"
"""Of many right answers one has to be chosen, which takes more than one forward."""


def test_the_drafts_of_latents_are_streamed_and_the_last_is_the_text(start):
    spec = "ddim:steps=8"
    server, alone = start(Generator("nano-latent", spec, slots=2)), Generator("nano-latent", spec)
    (own,) = alone(SHUFFLE, length=8, seed=3)
    chunks = list(
        server.client.completions.create(
            model="nano-latent", prompt=SHUFFLE, max_tokens=8, seed=3, stream=True, extra_body={"diffusing": True},
            stream_options={"include_usage": True},
        )
    )
    shown = [c.choices[0] for c in chunks if c.choices]
    drafts = [c.draft for c in shown[:-1]]
    assert len({c.text for c in shown}) > 1
    assert [d["step"] for d in drafts] == sorted({d["step"] for d in drafts})
    assert all(d["settled"] == 0 for d in drafts if d["step"] < 8), "nothing is settled before the last one"
    assert shown[-1].text == own.text
    assert chunks[-1].usage.forwards == own.nfe == 8


def test_prompts_of_several_lengths_are_rounded_side_by_side(start):
    server, spec = start(Generator("nano-latent", "codar", slots=3)), "codar:denoiser=(ddim:steps=4)"
    prompts = [SORT, "Reverse: a b", "Q: Ben has 12 pens. Ben finds 3. How many?"]
    made = server.client.completions.create(model=f"nano-latent@{spec}", prompt=prompts, max_tokens=12, seed=1)
    own = Generator("nano-latent", spec)(prompts, length=12, seed=1)
    assert [c.text for c in made.choices] == [g.text for g in own]
