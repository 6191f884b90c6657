"""SGLang calls `register` in each of its processes, before it reads its arguments.

Interface: `sglang.srt.plugins` and `sglang.srt.dllm.algorithm` of SGLang 0.5.23.
"""

from __future__ import annotations

from collections.abc import Callable

from decoders.registry import unfolded
from decoders.specs import load, split

LOOKUP = "sglang.srt.dllm.algorithm.get_algorithm_cls"


def register() -> None:
    """Make SGLang look up the value of `--dllm-algorithm` with `look_up`."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(LOOKUP, look_up, HookType.AROUND)


def look_up(original: Callable[[str], type], name: str) -> type:
    """The class behind a name: SGLang's own if it has one, else that of a strategy's spec string. Raises `UsageError`
    if there is none."""
    import sglang.srt.dllm.algorithm as theirs

    if name in theirs.algo_name_to_cls:
        return original(name)
    from decoders_sglang.algorithm import algorithm_class

    # an unknown name is refused before anything is made
    load("strategies", split("strategies", unfolded(name)[0])[0])
    return algorithm_class(name)
