"""Puts the template into the wheel, beside the package that deploys it; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithTemplate(build_py):
    """Copies template.yaml into the package `protloc` of what is built."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file("template.yaml", str(Path(self.build_lib) / "protloc" / "template.yaml"))


setup(cmdclass={"build_py": BuildWithTemplate})
