"""The SageMaker resources of a model version, and their removal, which may be repeated at any state."""

from collections.abc import Callable
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from functions.domain.errors import ProtlocError

MISSING = ("Could not find", "Requested resource not found")
OVER = (*MISSING, "in status")
"""The words of StopTrainingJob about a job that is over. Of a component, a status is why it stays."""
JOBS = ("snapshot", "train", "evaluate")
DIMENSION = "sagemaker:inference-component:DesiredCopyCount"
ALARMS = ("wake-up", "rest")


class ComponentStays(ProtlocError):
    """A component is there after its deletion was accepted: its instances are still billed."""


class Hosting:
    """The inference components of the stack, with their models and scaling."""

    def __init__(self, sagemaker: Any, scaling: Any, alarms: Any) -> None:
        self.sagemaker, self.scaling, self.alarms = sagemaker, scaling, alarms  # boto3's clients

    @classmethod
    def connect(cls) -> "Hosting":
        standard = Config(retries={"mode": "standard", "total_max_attempts": 5})
        return cls(
            boto3.client("sagemaker", config=standard),
            boto3.client("application-autoscaling", config=standard),
            boto3.client("cloudwatch", config=standard),
        )

    def remove(self, component: str, *, promised: bool) -> bool:
        """Take away component, scaling, alarms and model of a version; say whether nothing of them is left.

        The component goes first, and only a description that finds none shows that it went: SageMaker deletes
        it after it has answered, which takes minutes and may fail. Until then scaling and alarms stay too, so
        that it goes on costing nothing while it is idle. Call this again until it returns True, with
        `promised` once it returned False. Raises ComponentStays where an accepted deletion came to nothing
        (and was asked for again), ClientError where SageMaker refuses, as of a component that is being
        created or changed.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeInferenceComponent.html
        """
        before = self._describe(component)
        if before and before["InferenceComponentStatus"] != "Deleting":
            _unless_missing(
                lambda: self.sagemaker.delete_inference_component(InferenceComponentName=component)
            )
            if promised:
                status, reason = before["InferenceComponentStatus"], before.get("FailureReason", "no reason")
                raise ComponentStays(f"{component} was to be deleted, and is {status}: {reason}")
        if before and self._describe(component):
            return False
        _unless_missing(
            lambda: self.scaling.deregister_scalable_target(
                ServiceNamespace="sagemaker",
                ResourceId=f"inference-component/{component}",
                ScalableDimension=DIMENSION,
            )
        )
        for alarm in ALARMS:  # one call each: where one is missing, as of older versions, none goes
            _unless_missing(partial(self.alarms.delete_alarms, AlarmNames=[f"{component}-{alarm}"]))
        _unless_missing(lambda: self.sagemaker.delete_model(ModelName=component))
        return True

    def _describe(self, component: str) -> dict[str, Any]:
        """SageMaker's description of a component; empty where there is none."""
        description: dict[str, Any] = {}
        _unless_missing(
            lambda: description.update(
                self.sagemaker.describe_inference_component(InferenceComponentName=component)
            )
        )
        return description

    def remove_package(self, package: str) -> None:
        """Remove a version's entry from the registry, where it waits for an approval that will not come."""
        remove = partial(self.sagemaker.delete_model_package, ModelPackageName=package)
        _unless_missing(remove, (*MISSING, "does not exist"))

    def stop_jobs(self, job: str) -> None:
        """Stop those training jobs of a retraining that still run, as no execution waits for them."""
        for kind in JOBS:
            stop = partial(self.sagemaker.stop_training_job, TrainingJobName=f"{job}-{kind}")
            _unless_missing(stop, OVER)


def _unless_missing(call: Callable[[], object], missing: tuple[str, ...] = MISSING) -> None:
    """Do it, unless it is done: SageMaker and scaling each have their own way to say so."""
    try:
        call()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        is_missing = code == "ValidationException" and any(words in message for words in missing)
        if not is_missing and code not in ("ObjectNotFoundException", "ResourceNotFound"):
            raise
