"""Decoders that never ran: curves of accuracy over forwards, and the outcomes of problems that follow them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from decoders_bench.quality.matched import WIDE, Sweep, Verdict, counting, sample, verdicts

RUNGS, WORDINGS, OWN = 12, 2, 0.6
"""Rungs and wordings, about as many as the default grid of `bench quality`; and how much of an outcome is the decoder's
own luck, the rest being the problem's difficulty: two settings of equal accuracy then differ on about a sixth of the
items."""
COARSE, ROUNDS = (0.1, 0.25, 0.5, 0.9), 4
"""The baseline's sweep before it is refined, and how often it is: as `bench duel` does by default."""
LEAST, SPAN = 2.0, 8.0
"""Forwards at the one end of the knob, and how many more at the other."""


def curve(forwards: float) -> float:
    """Accuracy, from 35 % of two forwards to 95 %: steepest where decoding is fastest."""
    return 0.35 + 0.6 * (1 - float(np.exp(-(forwards - LEAST) / 1.5)))


class World:
    """Problems of several rungs, and what any setting of a decoder makes of them."""

    def __init__(self, seed: int, each: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rungs = np.repeat(np.arange(RUNGS), each)
        hard = 0.5 * self.rng.normal(size=RUNGS)[self.rungs] + self.rng.normal(size=RUNGS * each)
        self.hard = (hard - hard.mean()) / hard.std()

    def measured(self, knob: float, gain: float) -> tuple[np.ndarray, np.ndarray]:
        """(n,) the share of wordings that are right, and (n,) forwards, of a setting with `gain` more accuracy than the
        curve."""
        n, forwards = len(self.hard), LEAST + SPAN * knob
        reached = NormalDist().inv_cdf(min(max(curve(forwards) + gain, 0.01), 0.995))
        latent = (1 - OWN**2) ** 0.5 * self.hard + OWN * self.rng.normal(size=(WORDINGS, n))
        spent = forwards * (1 + 0.25 * self.hard) + 0.8 * self.rng.normal(size=(WORDINGS, n))
        return (latent < reached).mean(0), np.maximum(1, spent.round()).mean(0)

    def sweep(self, found: list[tuple[np.ndarray, np.ndarray]]) -> Sweep:
        return Sweep(np.stack([right for right, _ in found]), np.stack([spent for _, spent in found]))


def fought(seed: int, gain: float, each: int = 40, rounds: int = ROUNDS) -> Verdict:
    """A duel: four settings of a decoder at random forwards, against a baseline that is swept coarsely and refined."""
    world = World(seed, each)
    over = sample(world.rungs.tolist(), seed, resamples=600)
    mine = world.sweep([world.measured(knob, gain) for knob in np.sort(world.rng.uniform(0.1, 0.8, 4))])
    knobs = list(COARSE)
    base = [world.measured(knob, 0.0) for knob in knobs]
    for number in range(rounds + 1):
        (found,) = verdicts([(mine, world.sweep(base))], over)
        wide = [s for s in counting(found.standings) if s.verdict == WIDE]
        if number == rounds or not wide:
            break
        for s in wide:
            low, high = (knobs[k] for k in s.ends)
            new = low + (high - low) * min(max(s.aim, 0.15), 0.85)
            if new not in knobs:
                knobs.append(new)
                base.append(world.measured(new, 0.0))
    return found
