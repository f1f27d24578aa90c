"""Where the project's own files are: in a checkout beside this package, in an installed wheel inside it."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
"""The folder that the template's paths of code begin in: it holds `functions/` and `model/`."""

IN_CHECKOUT = (PROJECT / "template.yaml").is_file() and (PROJECT / "pyproject.toml").is_file()
TEMPLATE = (PROJECT if IN_CHECKOUT else PACKAGE) / "template.yaml"
