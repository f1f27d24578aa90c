"""Java's patterns, compared with whole values as the services compare them."""

import pytest

from protloc.cloud.contracts.front_door import SERVED
from protloc.cloud.contracts.patterns import UnreadablePatternError, compiled, matches, translated
from protloc.cloud.contracts.shapes import service_model

METADATA = r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}"  # SageMaker's CustomerMetadataValue
DESCRIBED = (
    r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*"  # Application Auto Scaling's XmlString
)


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        pytest.param(r"[a-z]+", "abc", "abc1", id="the whole value"),
        pytest.param(r"[a-z]+", "abc", "abc\n", id="a line end is a character"),
        pytest.param(r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*", "a-b", "a b", id="an end without an anchor"),
        pytest.param(r"^$|arn:.*", "arn:x", "x", id="one choice of several"),
        pytest.param(r"(?i)all|[0-9]{12}", "ALL", "some", id="without regard to case"),
        pytest.param(METADATA, "é字 1_.:/=+-@", '{"a":1}', id="letters of any script"),
        pytest.param(METADATA, "", "a,b", id="nothing at all"),
        pytest.param(r"\w+", "a_1", "é", id="ASCII words"),
        pytest.param(r"[\w+=,.@-]+", "a-b@c", "ä", id="ASCII words in a set"),
        pytest.param(r"\d{12}", "123456789012", "١٢٣٤٥٦٧٨٩٠١٢", id="ASCII digits"),
        pytest.param(r"[\s\S]*", "a \n é😀", None, id="everything"),
        pytest.param(r"\S+", "a\u00a0b", "a b", id="ASCII spaces"),
        pytest.param(r"(?!\s*$).+", "a", "  ", id="a look ahead"),
        pytest.param(r".*", "a b", "a\u2028b", id="Java's line ends"),
        pytest.param(r"\p{ASCII}+", "a\x7f", "é", id="ASCII"),
        pytest.param(r"[\p{Alnum}_]+", "a_1", "é", id="ASCII letters and digits in a set"),
        pytest.param(r"\p{Print}*", "a b~", "a\tb", id="printable"),
        pytest.param(DESCRIBED, "a\n😀", "\x00", id="characters in two halves"),
        pytest.param(r"[\w-\/]+", "a-/", "^", id="a hyphen behind a class"),
        pytest.param(r"[+-\d]+", "+-1", ",", id="a hyphen before a class"),
        pytest.param(r"[^]a]+", "b", "]", id="a bracket first in a set"),
    ],
)
def test_a_value_matches_as_in_java(pattern: str, taken: str, refused: str | None) -> None:
    assert matches(pattern, taken)
    assert refused is None or not matches(pattern, refused)


@pytest.mark.parametrize("pattern", ["[a-z&&[^b]]", "[a[bc]]"])
def test_what_is_not_translated_is_not_guessed(pattern: str) -> None:
    with pytest.raises(UnreadablePatternError, match="a set within a set"):
        translated(pattern)


@pytest.mark.parametrize("service", sorted({name for names in SERVED.values() for name in names}))
def test_every_pattern_of_a_service_can_be_read(service: str) -> None:
    model = service_model(service)
    for name in model.shape_names:
        pattern = model.shape_for(name).metadata.get("pattern")
        assert pattern is None or compiled(pattern)
