"""More than one device, stood for by processes on a CPU: ranks that share the layers, and engines that share the
requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engines import NANO, Served, engine
from test_server import SPECS, TEXTS, Server, own

import decoders


def test_tensor_parallel() -> None:
    """Each rank has half of the heads and of the vocabulary, and a sampler of its own; they decide alike."""
    llm = engine(NANO, max_model_len=256, max_num_batched_tokens=48, tensor_parallel_size=2)
    ranks = llm.collective_rpc("get_model_inspection")
    assert len(ranks) == 2
    # o_proj of two of four heads
    assert all("in_features=64, output_features=128, bias=False, tp_size=2" in x for x in ranks)
    served = Served(llm, decoders.load("nano", attention="block"))
    mixed = [(served.loaded.tokenizer.encode(t), spec, n) for spec in SPECS for t in TEXTS for n in (24, 19)]
    asked = [(p, served.params(spec, n, seed=7)) for p, spec, n in mixed]
    assert served.tokens(asked) == [served.own(spec, p, n, seed=7) for p, spec, n in mixed]


def test_data_parallel(tmp_path: Path) -> None:
    """Two engines behind one port, both of which get requests."""
    loaded = decoders.load("nano", attention="block")
    server = Server(tmp_path / "log", "--data-parallel-size", "2")
    try:
        server.wait()
        kinds = [(text, spec) for spec in SPECS for text in TEXTS]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda kind: server.text(kind[0], 27, decoder=kind[1], seed=5), kinds))
        assert found == [own(loaded, text, spec, 27, 5) for text, spec in kinds]
        answered = [server.metric(f'vllm:request_success_total{{engine="{i}"') for i in (0, 1)]
        assert sum(answered) == len(kinds)
        assert min(answered) > 0
    finally:
        server.close()
