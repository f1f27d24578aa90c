"""Renders template.yaml as CloudFormation gets it: after the serverless transform, with artifacts in S3.

`python -m tests.template.rendering FOLDER` writes a file for each variant. Each release's `cpu.json` is kept in
`releases/`, under the release's number, to be updated from.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from protloc.stack.template import parse

ROOT = Path(__file__).parents[2]
CODE, DEFINITION = "s3://artifacts/functions.zip", "s3://artifacts/retrain.asl.json"

# Choices of a person, by the parameters that differ from their defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    "cpu": {},
    "gpu": {
        "InferenceImage": "ray:serve-ml-sagemaker-cuda-v1.4",
        "InferenceInstanceType": "ml.g5.xlarge",
        "InferenceAcceleratorDevices": 1,
        "InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-3-1",
    },
    "no-zero": {"MinInferenceInstances": 1},
    "everything": {
        "NotificationEmail": "operator@example.org",
        "Tracing": "true",
        "ApiAccessLogs": "true",
        "TrainingLauncher": "smddp",
        "TrainingInstances": 2,
        "TeamPage": "true",
    },
    "issuer": {"TeamPage": "true", "TeamIssuer": "https://login.example.org/main", "TeamClientId": "protloc"},
}


def render(template: Path = ROOT / "template.yaml", **parameters: Any) -> dict[str, Any]:
    """The rendered template, with other defaults of parameters where such are given."""
    # Here only: the transform takes seconds to import.
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.public.translator import ManagedPolicyLoader
    from samtranslator.translator.transform import transform

    class NoManagedPolicies(ManagedPolicyLoader):  # type: ignore[misc]
        """Roles are written out; a managed policy would be one too many."""

        def load(self) -> dict[str, str]:
            return {}

    source = parse(template.read_text(encoding="utf-8"))
    source["Globals"]["Function"]["CodeUri"] = CODE
    machine = source["Resources"]["RetrainStateMachine"]["Properties"]
    if "DefinitionUri" in machine:
        machine["DefinitionUri"] = DEFINITION
    for name, value in parameters.items():
        source["Parameters"][name]["Default"] = value
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            made: dict[str, Any] = transform(source, {}, NoManagedPolicies(None))
        except InvalidDocumentException as error:
            raise AssertionError("; ".join(cause.message for cause in error.causes)) from error
    return made


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, parameters in VARIANTS.items():
        (folder / f"{name}.json").write_text(json.dumps(render(**parameters), indent=1, default=str) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
