"""The second run of a file asks the endpoint nothing: it is answered while nobody may ask."""

from pathlib import Path

from tests.conftest import Embedded
from tests.end_to_end.test_permissions import without


def times_asked(cloud: Embedded, upload: str) -> int:
    """Count the batches of an upload that went to the endpoint, as `predict` logs them."""
    events = cloud.client.client("logs").filter_log_events(
        logGroupName="/aws/lambda/protloc-predict", filterPattern=f'"{upload}"', limit=10_000
    )["events"]
    lines = [event["message"] for event in events if upload in event["message"]]
    assert any("batch predicted" in line for line in lines)
    return sum("asking the model" in line for line in lines)


def test_the_second_run_of_a_file_makes_no_endpoint_call(embedded: Embedded, tmp_path: Path) -> None:
    source = tmp_path / "in.fasta"
    source.write_text("".join(f">p{n}\nMKVLKNQWN{'AC' * n}\n" for n in range(1, 121)))
    first = embedded.answer("predict", source)
    assert times_asked(embedded, first["upload"]) > 0
    with without(embedded, "PredictRole", "AskModel"):
        second = embedded.answer("predict", source, "--timeout", "10m")
    assert (second["status"], second["predicted"]) == ("complete", 120)
    assert times_asked(embedded, second["upload"]) == 0
    assert embedded.rows(second["upload"]) == embedded.rows(first["upload"])
