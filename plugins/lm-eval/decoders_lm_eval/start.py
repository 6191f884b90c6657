"""Runs at the start of Python: when the harness's list of models is imported, our model is added to it. This module
imports nothing else, so programs that do not use the harness are not affected."""

import sys

LIST, MODEL = "lm_eval.models", "decoders_lm_eval.model:DecodersLM"


def register() -> None:
    """Make `--model decoders` known to the harness; a second call changes nothing."""
    from lm_eval.api.registry import model_registry

    if "decoders" not in model_registry:
        model_registry.register("decoders", target=MODEL)


class Waiting:
    """An import finder that finds no module itself, but calls `register` after the module `LIST` has been run."""

    def find_spec(self, name, path=None, target=None):
        if name != LIST:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module):
                run(module)
                register()

            spec.loader.exec_module = run_and_register
        return spec


if LIST in sys.modules:
    register()
elif not any(isinstance(finder, Waiting) for finder in sys.meta_path):
    sys.meta_path.insert(0, Waiting())
