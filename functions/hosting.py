"""What trains and hosts a model version, and taking it away: whatever is there, however often it is asked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

MISSING = ("Could not find", "Requested resource not found")
OVER = (*MISSING, "in status")
"""What StopTrainingJob says of a job that is over. Of a component, a status is why it stays."""
JOBS = ("snapshot", "train", "evaluate")
DIMENSION = "sagemaker:inference-component:DesiredCopyCount"


class Hosting:
    """The inference components of the stack and what hangs on them."""

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

    def remove(self, component: str) -> None:
        """Take away component, scaling, alarm and model of a version. Raises ClientError where one stays.

        The component goes first: where SageMaker refuses that, because it is still being created or changed,
        scaling and alarm stay as well, so that it goes on costing nothing while it is idle until another try.
        """
        _unless_missing(lambda: self.sagemaker.delete_inference_component(InferenceComponentName=component))
        _unless_missing(
            lambda: self.scaling.deregister_scalable_target(
                ServiceNamespace="sagemaker",
                ResourceId=f"inference-component/{component}",
                ScalableDimension=DIMENSION,
            )
        )
        self.alarms.delete_alarms(AlarmNames=[f"{component}-wake-up"])
        _unless_missing(lambda: self.sagemaker.delete_model(ModelName=component))

    def stop_jobs(self, job: str) -> None:
        """Stop those training jobs of a retraining that still run: nobody waits for them."""
        for kind in JOBS:
            stop = partial(self.sagemaker.stop_training_job, TrainingJobName=f"{job}-{kind}")
            _unless_missing(stop, OVER)


def _unless_missing(call: Callable[[], object], missing: tuple[str, ...] = MISSING) -> None:
    """Do it, unless it is done: SageMaker and scaling each have their own way to say so."""
    try:
        call()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        said = code == "ValidationException" and any(words in message for words in missing)
        if not said and code not in ("ObjectNotFoundException", "ResourceNotFound"):
            raise
