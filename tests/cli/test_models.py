"""`decoders models`, and `decoders list models`."""

from __future__ import annotations

import json

from decoders.models.families import FAMILIES
from decoders.models.hub import Repository
from support.commands import call


def test_every_family_has_an_example_and_defaults():
    found = json.loads(call("models", "--json").output)
    assert [f["family"] for f in found] == [*FAMILIES]
    by_name = {f["family"]: f for f in found}
    alone = ("nano", "causal")  # which `decoders` and `decoders bench versus` make, and no repository holds
    assert all(Repository.named(f["example"]) for f in found if f["family"] not in alone)
    assert by_name["llada"]["gigabytes"] == {"bf16": 16, "int8": 8, "int4": 4}
    assert (by_name["llada"]["block"], by_name["sdar"]["block"], by_name["fast_dllm_v2"]["block"]) == (None, 4, 8)
    assert {f["family"] for f in found if f["trust_remote_code"]} == {"llada2"}
    assert by_name["diffusion_gemma"]["decoder"] == "gemma"


def test_it_is_a_table_and_stands_in_the_list():
    lines = call("models").output.splitlines()
    llada = next(line for line in lines if line.startswith("llada "))
    assert llada.split("  ")[-1] == "whole row"
    assert "GSAI-ML/LLaDA-8B-Instruct" in llada
    assert "16 / 8 / 4 GB" in llada
    assert all(len(line) <= 120 for line in lines)
    assert f"  {llada}" in call("list", "models").output.splitlines()
