"""How an item was decoded, forward pass by forward pass: the data of the report's replays."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from decoders import Forward, Pred
from decoders.core import Canvas, Decoder, only, rank
from decoders.models.loaded import Tokenizer
from decoders.text.trace import moved, ways

LIKELIEST = 4
"""The number of most likely tokens that are kept of a prediction with which the decoder decided."""
LEAST = 5e-4
"""The least probability of a token that is kept."""


class Frames:
    """A `watch` that records, for some rows of a batch, what every forward pass changed and what the model predicted at
    the changed positions; `traces` are the lines of traces.jsonl (`decoders_bench.quality.rows.Run`)."""

    def __init__(
        self, keys: Mapping[int, Mapping[str, Any]], mask_id: int | None, tokenizer: Tokenizer, decoder: Decoder
    ) -> None:
        """`keys`: for every watched row, the first entries of its trace."""
        self.keys, self.mask_id, self.tokenizer, self.decoder = keys, mask_id, tokenizer, decoder
        self.before: Canvas | None = None
        self.shown: dict[int, list[int]] = {}
        self.kept: dict[int, dict[str, Any]] = {}
        self.seconds = 0.0
        """The seconds that the watching took."""

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        began = time.perf_counter()
        old, rows = self.before, list(self.keys)
        committed, edited, reopened = (x.tolist() for x in moved(old, f, c))
        open_, tokens, sure = c.open.tolist(), c.tokens.tolist(), c.confidence.tolist()
        seen, how = Seen.of(p, f, rows), ways(self.decoder, f, c) if self.decoder.outcomes else None
        for number, b in enumerate(rows):
            if old is None:
                self.begin(b, f, c)
            elif int(c.clock[b]) == int(old.clock[b]):
                continue
            found, details, shown, trace = [], [], self.shown[b], self.kept[b]
            for i in range(trace["start"], trace["start"] + len(trace["initial"])):
                token, confidence = tokens[b][i], round(sure[b][i], 3)
                if committed[b][i] or edited[b][i]:
                    found.append([i, token, "commit" if committed[b][i] else "edit", confidence])
                    way = self.decoder.outcomes[how[b][i]] if how and committed[b][i] else None
                    details.append(seen.at(number, i, way))
                elif reopened[b][i] or (open_[b][i] and token != shown[i]):
                    found.append([i, token, "reopen" if reopened[b][i] else "provisional", None])
                    details.append(seen.at(number, i, None) if reopened[b][i] else None)
            phase = self.decoder.phases[int(f.phase[b])] if self.decoder.phases else None
            trace["frames"].append({"step": int(c.clock[b]), "phase": phase, "changes": found, "details": details})
            self.shown[b] = tokens[b]
        self.before = c
        self.seconds += time.perf_counter() - began

    def begin(self, b: int, f: Forward, c: Canvas) -> None:
        editable, end = c.editable[b].tolist(), int(c.limit[b])
        start = editable.index(True)
        tokens: list[int] = f.tokens[b].tolist()
        if self.mask_id is not None:
            tokens = [self.mask_id if e else t for t, e in zip(tokens, editable, strict=True)]
        self.shown[b] = tokens
        self.kept[b] = {
            **self.keys[b],
            "start": start,
            "mask": self.mask_id,
            "initial": tokens[start:end],
            "frames": [],
        }

    def traces(self) -> list[dict[str, Any]]:
        """The traces, with the text of every token id that occurs in them."""
        out = []
        for trace in self.kept.values():
            changes = [change[1] for frame in trace["frames"] for change in frame["changes"]]
            details = [x for frame in trace["frames"] for x in frame["details"] if x]
            ids = {*trace["initial"], *changes, *(token for x in details for token, _ in x["likeliest"])}
            out.append({**trace, "vocab": {str(t): self.tokenizer.decode([t]) for t in sorted(ids)}})
        return out


@dataclass(frozen=True)
class Seen:
    """The prediction of one forward pass for some rows, at the columns for which the model was asked."""

    place: list[dict[int, int]]
    """For each row, the index of each column in the window."""
    entropy: list[list[float]]
    order: list[list[int]]
    """The rank of each column among all that were asked about, by the probability of the most likely token, from 0."""
    tokens: list[list[list[int]]]
    probability: list[list[list[float]]]

    @classmethod
    def of(cls, p: Pred, f: Forward, rows: Sequence[int]) -> Seen:
        own = Pred(p.logits[rows], p.at[rows], p.width, banned=p.banned)
        tokens, _ = own.top(LIKELIEST)
        each = [own.prob(tokens[..., k]) for k in range(tokens.shape[-1])]
        where = asked(own)
        order = rank(only(where, each[0]))
        columns = zip(f.at[rows].tolist(), where.tolist(), strict=True)
        place = [{i: w for w, (i, here) in enumerate(zip(*x, strict=True)) if here} for x in columns]
        probability = torch.stack(each, -1)
        return cls(place, own.entropy().tolist(), order.tolist(), tokens.tolist(), probability.tolist())

    def at(self, row: int, column: int, way: str | None) -> dict[str, Any] | None:
        """The details of a change; None if the model was not asked about this column."""
        w = self.place[row].get(column)
        if w is None:
            return None
        likeliest = zip(self.tokens[row][w], self.probability[row][w], strict=True)
        return {
            "way": way, "entropy": round(self.entropy[row][w], 3), "rank": self.order[row][w] + 1,
            "asked": len(self.place[row]), "likeliest": [[token, round(x, 3)] for token, x in likeliest if x >= LEAST],
        }  # fmt: skip


def asked(p: Pred) -> Tensor:
    """(B, W) bool: the columns that the prediction covers."""
    return p.spread(p.logits.new_ones(p.at.numel()).bool())
