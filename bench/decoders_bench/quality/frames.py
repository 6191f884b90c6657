"""How an item was decoded, forward by forward: what the report replays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decoders import Forward, Pred
from decoders.core import Canvas
from decoders.models.loaded import Tokenizer
from decoders.text.trace import moved


class Frames:
    """A `watch` that keeps what every forward changed in some rows of a batch; `traces` are the lines of traces.jsonl
    (`decoders_bench.quality.summary.Run`)."""

    def __init__(self, keys: Mapping[int, Mapping[str, Any]], mask_id: int | None, tokenizer: Tokenizer) -> None:
        """`keys`: of every row that is watched, what its trace begins with."""
        self.keys, self.mask_id, self.tokenizer = keys, mask_id, tokenizer
        self.before: Canvas | None = None
        self.shown: dict[int, list[int]] = {}
        self.kept: dict[int, dict[str, Any]] = {}

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        old = self.before
        committed, edited, reopened = (x.tolist() for x in moved(old, c))
        open_, tokens, sure = c.open.tolist(), c.tokens.tolist(), c.confidence.tolist()
        for b in self.keys:
            if old is None:
                self.begin(b, f, c)
            elif int(c.clock[b]) == int(old.clock[b]):
                continue
            found, shown, trace = [], self.shown[b], self.kept[b]
            for i in range(trace["start"], trace["start"] + len(trace["initial"])):
                token, confidence = tokens[b][i], round(sure[b][i], 3)
                if committed[b][i] or edited[b][i]:
                    found.append([i, token, "commit" if committed[b][i] else "edit", confidence])
                elif reopened[b][i]:
                    found.append([i, token, "reopen", None])
                elif open_[b][i] and token != shown[i]:
                    found.append([i, token, "provisional", None])
            trace["frames"].append({"step": int(c.clock[b]), "changes": found})
            self.shown[b] = tokens[b]
        self.before = c

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
        """With the text of every token id in them."""
        out = []
        for trace in self.kept.values():
            ids = {*trace["initial"], *(change[1] for frame in trace["frames"] for change in frame["changes"])}
            out.append({**trace, "vocab": {str(t): self.tokenizer.decode([t]) for t in sorted(ids)}})
        return out
