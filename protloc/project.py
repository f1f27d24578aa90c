"""The places of the project's own files: beside this package, or inside it in an installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
"""The folder that the template's paths of code begin in: it holds `functions/` and `model/`."""

IN_CHECKOUT = (PROJECT / "template.yaml").is_file() and (PROJECT / "pyproject.toml").is_file()
TEMPLATE = (PROJECT if IN_CHECKOUT else PACKAGE) / "template.yaml"
