"""An update from an earlier release replaces nothing that holds data or that people depend on.

CloudFormation makes a resource anew where a property changes that its registry calls `createOnly`: a queue would
lose its messages, a policy the people it is attached to.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

Template = dict[str, Any]
RELEASES = sorted((Path(__file__).parent / "releases").glob("*.json"))
KEEPING = ("Retain", "RetainExceptOnCreate")
# (resource, property): why it may be made anew.
REPLACED = {
    ("EndpointConfig", "ProductionVariants"): "the endpoint takes the new one, then the old one goes",
    ("ModelPackageGroup", "ModelPackageGroupName"): "the one of before is kept, with its packages",
}


def made_anew(before: Template, after: Template) -> set[tuple[str, str]]:
    """The resources of both templates that an update replaces, each with the property that does it."""
    anew = set()
    for name, old in before["Resources"].items():
        new = after["Resources"].get(name, old)
        if new["Type"] != old["Type"]:
            anew.add((name, "Type"))
            continue
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", old["Type"]).schema
        for path in schema.get("createOnlyProperties", []):
            key = path.split("/")[2]
            if old.get("Properties", {}).get(key) != new.get("Properties", {}).get(key):
                anew.add((name, key))
    return anew


@pytest.mark.parametrize("release", RELEASES, ids=[path.stem for path in RELEASES])
def test_an_update_replaces_only_what_it_may(release: Path, rendered: Template) -> None:
    before = json.loads(release.read_bytes())
    assert made_anew(before, rendered) <= set(REPLACED)
    retained = {name for name, each in before["Resources"].items() if each.get("DeletionPolicy") in KEEPING}
    assert retained <= set(rendered["Resources"]), (
        "what is kept under another logical name is made anew, empty"
    )


def test_a_changed_description_would_take_a_policy_from_its_people(rendered: Template) -> None:
    """The judge itself, on a change that no release may make."""
    after = json.loads(json.dumps(rendered))
    after["Resources"]["UploadersPolicy"]["Properties"]["Description"] = "other words"
    assert made_anew(rendered, after) == {("UploadersPolicy", "Description")}
    assert made_anew(rendered, rendered) == set()
