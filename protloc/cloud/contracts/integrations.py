"""Names of service errors as Step Functions reports them.

Pure: the resource of a task and the error code of a service in, the name that Retry and Catch know out.

A call by `aws-sdk:` is made with the SDK for Java 2, an optimised integration with the one before it. An
error that the service's model does not have carries the name of the service's base exception, and
throttling is such an error in most services; a name gets the ending `Exception`, in place of `Fault` where
that stands there: https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html.
Throttling as it was seen: https://github.com/aws/aws-step-functions-data-science-sdk-python/pull/162
(`SageMaker.AmazonSageMakerException`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from protloc.cloud.contracts import shapes

LOST = "SdkClientException"  # no answer came


class Service(NamedTuple):
    """One service, as an integration calls it."""

    model: str  # botocore's name
    prefix: str
    base: str  # the exception for errors that its model does not have
    throttling: str  # its error code


OPTIMISED = {
    "dynamodb": Service(
        "dynamodb", "DynamoDB", "AmazonDynamoDBException", "ProvisionedThroughputExceededException"
    ),
    "lambda": Service("lambda", "Lambda", "AWSLambdaException", "TooManyRequestsException"),
    "sagemaker": Service("sagemaker", "SageMaker", "AmazonSageMakerException", "ThrottlingException"),
    "sns": Service("sns", "SNS", "AmazonSNSException", "ThrottledException"),
}
SDK = {
    "applicationautoscaling": Service(
        "application-autoscaling",
        "ApplicationAutoScaling",
        "ApplicationAutoScalingException",
        "ThrottlingException",
    ),
    "cloudwatch": Service("cloudwatch", "CloudWatch", "CloudWatchException", "Throttling"),
    "dynamodb": Service(
        "dynamodb", "DynamoDb", "DynamoDbException", "ProvisionedThroughputExceededException"
    ),
    "sagemaker": Service("sagemaker", "SageMaker", "SageMakerException", "ThrottlingException"),
}


def service(resource: str) -> Service:
    """The service that a task's resource calls. Raises KeyError for one that no machine of ours calls."""
    call = resource.split(":::", 1)[1]
    services: Mapping[str, Service] = SDK if call.startswith("aws-sdk:") else OPTIMISED
    return services[call.removeprefix("aws-sdk:").split(":")[0]]


def errors(resource: str) -> set[str]:
    """Every name that an error of this service can have."""
    called = service(resource)
    modelled = {_ending(shape.name) for shape in shapes.service_model(called.model).error_shapes}
    return {f"{called.prefix}.{name}" for name in (*modelled, called.base, LOST)}


def error(resource: str, code: str) -> str:
    """The name of the error that the service answers with `code`.

    >>> error("arn:aws:states:::aws-sdk:sagemaker:createModel", "ValidationException")
    'SageMaker.SageMakerException'
    >>> error("arn:aws:states:::sagemaker:createTrainingJob.sync", "ResourceInUse")
    'SageMaker.ResourceInUseException'
    """
    called = service(resource)
    name = f"{called.prefix}.{_ending(code)}"
    return name if name in errors(resource) else f"{called.prefix}.{called.base}"


def member(name: str) -> str:
    """The name of a member of a request or an answer where the SDK makes the call.

    It is that of the SDK for Java, with a capital: capitals that it begins with are one word, others stay.

    >>> member("PolicyARN"), member("SSEKMSKeyId"), member("BOOL"), member("S3Uri")
    ('PolicyARN', 'SsekmsKeyId', 'Bool', 'S3Uri')
    """
    leading = len(name) - len(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    if leading < 2:
        return name[:1].upper() + name[1:]
    begins_word = leading < len(name) and name[leading].islower()
    end = leading - 1 if begins_word else leading
    return name[:end].capitalize() + name[end:]


def _ending(name: str) -> str:
    return name if name.endswith("Exception") else f"{name.removesuffix('Fault')}Exception"
