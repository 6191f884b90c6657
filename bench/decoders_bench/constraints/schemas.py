"""Random JSON schemas, and a model over characters with random predictions that writes texts for them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from decoders import UsageError
from decoders.constraints.automaton import Automaton
from decoders.constraints.grammar import compiled, schema_pattern
from decoders.testing.toy import ToyModel

END, MASK = 0, 95
CHARACTERS = {i: bytes([31 + i]) for i in range(1, 95)}
"""Printable ASCII without the tilde; every token writes one character."""
LONGEST = 120
"""Schemas whose shortest text is longer are redrawn, and so are those with more states than `STATES`."""
STATES = 1500


def toy(seed: int = 0, block_causal: bool = False) -> ToyModel:
    """A model with random predictions."""
    return ToyModel(vocab=96, mask_id=MASK, stop_ids=(END,), sharp=6.0, seed=seed, block_causal=block_causal)


def written(tokens: tuple[int, ...]) -> str:
    return b"".join(CHARACTERS[t] for t in tokens).decode()


def random_schema(rng: Random, depth: int) -> dict[str, Any]:
    """A schema of objects and arrays nested up to `depth` deep."""
    kind = rng.choice(["integer", "boolean", "string", "enum", "null", *(["object", "array"] * 2 if depth else [])])
    if kind == "enum":
        return {"enum": rng.sample(["x", "yes", "no", 1, 22, True, None], rng.randint(1, 4))}
    if kind == "object":
        names = rng.sample("abcdef", rng.randint(1, 3))
        needed = rng.sample(names, rng.randint(0, len(names)))
        return {"type": "object", "properties": {n: random_schema(rng, depth - 1) for n in names}, "required": needed}
    if kind == "array":
        least = rng.randint(0, 2)
        items = random_schema(rng, depth - 1)
        return {"type": "array", "items": items, "minItems": least, "maxItems": least + rng.randint(0, 2)}
    if kind == "string":
        return {"type": "string", "maxLength": rng.randint(1, 6)}
    return {"type": kind}


def draw(rng: Random, depth: int = 3) -> tuple[dict[str, Any], Automaton, int]:
    """A schema, its automaton over characters, and the length of its shortest text."""
    while True:
        schema = random_schema(rng, depth)
        automaton = compiled("schema", schema_pattern("schema", schema), CHARACTERS, 96, (END,))
        shortest = automaton.shortest(LONGEST)
        if shortest is not None and len(automaton.accepting) <= STATES:
            return schema, automaton, shortest


def valid(text: str, schema: dict[str, Any]) -> bool:
    """Whether a text is JSON that the schema allows, according to an independent validator."""
    try:
        import jsonschema
    except ImportError:
        raise UsageError("texts are held against their schemas by jsonschema: pip install jsonschema") from None
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True
