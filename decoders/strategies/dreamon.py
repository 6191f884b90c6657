"""DreamOn: infilling in which the model itself lengthens and shortens the holes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, Whole, Windows, only, option, top
from decoders.stats.constants import number


@dataclass(frozen=True)
class DreamOn(Decoder):
    """Fill holes, one position per forward, the most confident first: if the model predicts its expand token there, the
    position becomes two masks; if it predicts its end token, the position is removed; the text to the right, given text
    too, then moves. Wu et al. 2026, 2602.01326 (DreamOn); `_sample` of the checkpoint's generation_utils.py, and
    `batch_generate_with_expand_as_token` of eval/generator.py in DreamLM/DreamOn 8a0a549.

    A row has the columns of its prompt, holes included, and `length` free columns at its end, to which no position
    attends until the text has grown into them; `max_new_tokens` of the authors' code is the holes and this length
    together. If the row is full, or has been lengthened `expansions` times, the expand token is impossible. If no text
    follows the holes, they begin as `initial` masks. Columns that the text never reached become end tokens, which are
    not part of it.

    `rest` is `pad_eos_to_right`, which was on for the paper's numbers (eval/configs/eval_infill.yaml) and is off in the
    code of the checkpoint. There it also removes masks to the right of an end token in the prompt; here only a removal
    does this. The number of expansions is bounded only in the authors' code, not in the paper: by `max_gen_len` in
    eval/generator.py, and in generation_utils.py, as here, by twice the row's positions from the first hole on.
    """

    source: ClassVar[str] = "Wu et al. 2026, arXiv 2602.01326"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    needs_expand: ClassVar[bool] = True
    moves_text: ClassVar[bool] = True
    by: Literal["maskgit_plus", "topk_margin", "entropy"] = option("entropy", "how to choose the position")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    initial: int = option(4, "masks to begin with where no text stands behind", min=1)
    rest: bool = option(False, "a removal removes all that is open right of it too")
    expansions: int | None = option(None, "how often a row is lengthened at most; none: twice its positions", min=0)

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return asked if block_causal else Whole()

    def begin(self, s: State) -> State:
        given = (s.place < s.room[:, None]) & ~s.editable
        behind = torch.where(given, s.place + 1, 0).amax(-1)
        size = torch.where(behind > 0, behind, s.room.clamp(max=self.initial)) if s.stop_ids else s.room
        return replace(s, size=size, memo=torch.zeros_like(size))

    def step(self, s: State, p: Pred) -> State:
        open = s.open & s.present
        # top_p before top_k, as in the reference
        p = self.bounded(s, p).filtered(self.temperature, top_p=self.top_p).filtered(top_k=self.top_k)
        tokens, confidence = p.draw(s, 1.0 if self.temperature > 0 else 0.0)
        score = confidence if self.by == "maskgit_plus" else p.margin() if self.by == "topk_margin" else -p.entropy()
        best = top(only(open, score), 1)
        grows, removed = best & (tokens == s.expand_id), best & self.ends(s, tokens)
        if self.rest:
            removed = open & (removed.cumsum(-1) > 0)
        after = s.commit(best & ~grows & ~removed, tokens, confidence).rearranged(self.source_of(s, grows, removed))
        more = grows.any(-1)
        return self.closed(replace(after, size=s.size + more - removed.sum(-1), memo=s.memo + more))

    @staticmethod
    def ends(s: State, tokens: Tensor) -> Tensor:
        """Bool, with the shape of `tokens`: the tokens that remove their position."""
        return tokens == s.stop_ids[0] if s.stop_ids else torch.zeros_like(tokens, dtype=torch.bool)

    def bounded(self, s: State, p: Pred) -> Pred:
        """The prediction, without the expand token in rows that cannot grow."""
        most = 2 * s.room if self.expansions is None else self.expansions
        full = (s.size >= s.room) | (s.memo >= most)
        token = torch.arange(p.logits.shape[-1], device=p.logits.device) == s.expand_id
        return replace(p, logits=torch.where(full[:, None, None] & token, number(-torch.inf, p.logits), p.logits))

    def source_of(self, s: State, grows: Tensor, removed: Tensor) -> Tensor:
        """(B, W) long: for each position, the place from which its content comes. A position that `grows` appears
        twice, and `removed` ones become free columns after the text."""
        twice = s.place - (grows.cumsum(-1) - grows.long())
        kept = (removed | ~s.present).long().argsort(dim=-1, stable=True)
        return torch.where(grows.any(-1, keepdim=True), twice, kept)

    def closed(self, s: State) -> State:
        """The state with end tokens in the columns that the text never reached, once none of its positions is open."""
        if not s.stop_ids:
            return s
        full = ~(s.open & s.present).any(-1)
        ends = torch.full_like(s.tokens, s.stop_ids[0])
        closed = s.commit(full[:, None] & s.open, ends, torch.zeros_like(s.confidence))
        return replace(closed, size=torch.where(full, s.room, s.size))
