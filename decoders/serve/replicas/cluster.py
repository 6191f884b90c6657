"""The cluster: its machines, and the replicas on them."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from decoders.core import UsageError
from decoders.serve.replicas.replica import About, Replica
from decoders.serve.replicas.shortest import Shortest
from decoders.serve.setup import Setup
from decoders.settings import settings

STORE = 100 << 20
"""Bytes of the object store of a cluster that is started here; nothing of any size goes through it."""
HERE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE}
LOGS = {"log_level": "WARNING", "enable_access_log": False}


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """The Ray cluster at an address, or `local`: one of this machine alone, which ends with the block. Raises
    `UsageError`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        how = HERE if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **how)
    except (ConnectionError, ValueError, RuntimeError) as e:
        raise UsageError(f"no Ray cluster at {address}: {str(e).splitlines()[0]}") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def deployed(
    setup: Setup, replicas: int | None, address: str
) -> Iterator[tuple[DeploymentHandle[Any], About, int]]:
    """`count` replicas on the cluster at an address, by default one for each GPU; they end with the block. Raises
    `UsageError`."""
    settings(setup.decoder, setup.cache, setup.guidance)  # find mistakes before anything is started
    with cluster(address):
        count, each, setup = placed(setup, replicas, machines())
        router: Any = {"request_router_class": Shortest}
        deployment: Any = serve.deployment(
            Replica, name="decoders", num_replicas=count, ray_actor_options=each, health_check_period_s=2,
            max_ongoing_requests=2 * (setup.slots + setup.queue), logging_config=LOGS,
            request_router_config=RequestRouterConfig(**router),
        )
        serve.start(http_options={"location": "Disabled"}, logging_config=LOGS)
        name = f"decoders-{secrets.token_hex(4)}"
        try:
            handle = serve.run(deployment.bind(setup), name=name, route_prefix=None)
            found: list[About] = handle.broadcast("about").results()
            if error := next((x.error for x in found if x.error), None):
                raise UsageError(error)
            yield handle, found[0], count
        finally:
            if address != "local":  # all its processes end anyway
                serve.delete(name)


def machines() -> list[dict[str, float]]:
    """The resources of each machine of the cluster."""
    nodes: Any = ray.nodes  # which has no annotations
    return [n["Resources"] for n in nodes() if n["Alive"]]


def placed(
    setup: Setup, replicas: int | None, there: Sequence[dict[str, float]]
) -> tuple[int, dict[str, float], Setup]:
    """The number of replicas, the resources of each, and its setup: each has one GPU if there are any and the CPU is
    not requested; otherwise cores are shared equally. Raises `UsageError`."""
    gpus = sum(int(m.get("GPU", 0)) for m in there)
    device = setup.options.get("device", "cuda" if gpus else "cpu")
    setup = replace(setup, options={**setup.options, "device": device})
    if device.startswith("cuda"):
        count = gpus if replicas is None else replicas
        if not 0 < count <= gpus:
            raise UsageError(f"{count} replicas need a GPU each, and the cluster has {gpus}")
        return count, {"num_gpus": 1, "num_cpus": 0}, setup
    cores = [int(m.get("CPU", 0)) for m in there]
    count = len(there) if replicas is None else replicas
    share = next((k for k in range(max(cores), 0, -1) if sum(c // k for c in cores) >= count), 0)
    if not share:
        raise UsageError(f"{count} replicas need a core each, and the cluster has {sum(cores)}")
    return count, {"num_cpus": share}, setup
