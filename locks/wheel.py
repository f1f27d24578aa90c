"""Puts the template into the wheel, beside the package that deploys it: it lies outside every package."""

from pathlib import Path

from setuptools.command.build_py import build_py  # type: ignore[import-untyped]

TEMPLATE = "template.yaml"


class BuildWithTemplate(build_py):  # type: ignore[misc]
    """Copies the template into the package `protloc` of the build."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file(TEMPLATE, str(Path(self.build_lib) / "protloc" / TEMPLATE))

    def get_source_files(self) -> list[str]:
        """The files of an sdist, from which a wheel may be built."""
        return [*super().get_source_files(), TEMPLATE]
