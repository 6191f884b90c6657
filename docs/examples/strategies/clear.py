"""Statistics of a prediction."""

from dataclasses import dataclass

from decoders import Decoder, Pred, State, above, only, option


@dataclass(frozen=True)
class Clear(Decoder):
    """Commit where the likeliest token is far ahead of the second and the distribution is narrow."""

    gap: float = option(0.5, "least difference between the two largest probabilities", min=0, max=1)
    nats: float = option(1.0, "largest entropy, in nats", min=0)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)  # the token, and its probability at temperature 1
        margin, entropy = p.margin(), p.entropy()  # (B, W) each
        clear = (margin >= self.gap) & (entropy <= self.nats)
        return s.commit(above(only(s.open, margin), clear), tokens, confidence)
