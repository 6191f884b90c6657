"""The choice of a replica for a request."""

from __future__ import annotations

from collections import Counter
from random import sample
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica


class Shortest(RequestRouter):
    """Of two random replicas, the one with fewer texts in progress.

    Ray Serve's own router counts requests, one of which may ask for a hundred texts. Requests that no replica has taken
    yet count as one text. There has to be exactly one such router, because it counts only its own requests."""

    def initialize_state(self, **kwargs: Any) -> None:
        self.texts: Counter[ReplicaID] = Counter()
        self.taken: Counter[ReplicaID] = Counter()
        self.open: dict[str, int] = {}

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        two = sample(candidate_replicas, min(2, len(candidate_replicas)))
        return [[r] for r in sorted(two, key=lambda r: self.load(r.replica_id))]

    def load(self, replica: ReplicaID) -> int:
        sent = self.replica_queue_len_cache.get(replica) or 0
        return self.texts[replica] + max(sent - self.taken[replica], 0)

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        texts = pending_request.args[0].texts
        self.open[pending_request.metadata.internal_request_id] = texts
        self.texts[replica_id] += texts
        self.taken[replica_id] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        texts = self.open.pop(internal_request_id, None)
        if texts is not None:
            self.texts[replica_id] -= texts
            self.taken[replica_id] -= 1
