"""Installs a .pth file beside the package: the harness has no plugin mechanism, and this file makes its own `lm_eval`
command know our model."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

NAME = "decoders_lm_eval.pth"


class WithStart(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            Path(self.build_lib).mkdir(parents=True, exist_ok=True)
            self.copy_file(NAME, str(Path(self.build_lib) / NAME))

    def get_outputs(self, *args: object, **kwargs: object) -> list[str]:
        return [*super().get_outputs(*args, **kwargs), str(Path(self.build_lib) / NAME)]


setup(cmdclass={"build_py": WithStart})
