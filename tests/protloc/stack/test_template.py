from pathlib import Path

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse

from protloc.project import TEMPLATE
from protloc.stack.template import parse
from tests.cloud.conftest import STACK


@pytest.mark.parametrize("path", [TEMPLATE, STACK], ids=lambda path: path.parent.name)
def test_a_template_is_read_as_the_sam_cli_reads_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert parse(text) == yaml_parse(text)


def test_what_is_no_template_is_refused_with_its_line() -> None:
    with pytest.raises(yaml.YAMLError, match="line 2"):
        parse("Resources:\n  A: [!Ref B\n")
