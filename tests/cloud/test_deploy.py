"""What is deployed is a pure function of the files."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest

from protloc.cloud import deploy
from protloc.cloud.lifecycle import Cloud

from .conftest import STACK, Stack


def test_the_same_files_are_the_same_package(tmp_path: Path) -> None:
    copy = shutil.copytree(STACK.parent, tmp_path / "stack")
    (copy / "functions" / "__pycache__").mkdir(exist_ok=True)
    (copy / "functions" / "__pycache__" / "x.pyc").write_bytes(b"x")
    first, second = deploy.package(STACK, {}), deploy.package(copy / "template.yaml", {})
    assert first == second


def test_a_changed_file_or_parameter_is_another_package(tmp_path: Path) -> None:
    copy = shutil.copytree(STACK.parent, tmp_path / "stack")
    before = deploy.package(copy / "template.yaml", {})[0]["Metadata"]
    assert deploy.package(copy / "template.yaml", {"Concurrency": "3"})[0]["Metadata"] != before
    (copy / "machine.asl.yaml").write_text((copy / "machine.asl.yaml").read_text() + "\n")
    assert deploy.package(copy / "template.yaml", {})[0]["Metadata"] != before


def test_parent_packages_hold_the_sources(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "split.py").write_text("x = 1\n")
    content = deploy.zipped(tmp_path / "functions", Path("functions"))
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["functions/split.py"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(deploy.DeployError, match="nowhere, which is not there"):
        deploy.zipped(tmp_path / "nowhere", Path())


def test_a_stack_that_cannot_be_made_says_what_failed(cloud: Cloud, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        "Resources:\n  Config:\n    Type: AWS::SageMaker::EndpointConfig\n    Properties:\n"
        "      ProductionVariants: [{VariantName: v, InstanceType: ml.m5.large}]\n"
    )
    with pytest.raises(deploy.DeployError, match=r"Config .*ExecutionRoleArn is required"):
        deploy.deploy(cloud, template, "broken")
    with pytest.raises(deploy.DeployError, match="Unrecognized resource types"):
        template.write_text("Resources:\n  X:\n    Type: AWS::Nothing::Here\n")
        deploy.deploy(cloud, template, "unknown")


def test_a_changed_parameter_updates_the_stack_in_place(stack: Stack) -> None:
    outputs = deploy.deploy(stack.cloud, STACK, "test", {"Concurrency": "3"})
    assert outputs == stack.outputs
    mapping = stack.client("lambda").list_event_source_mappings(FunctionName=outputs["NoteFunction"])
    assert mapping["EventSourceMappings"][0]["ScalingConfig"] == {"MaximumConcurrency": 3}
    assert deploy.deploy(stack.cloud, STACK, "test") == stack.outputs
