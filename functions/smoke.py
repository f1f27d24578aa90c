"""smoke: a new model version answers as it should where it is hosted, or is not put into service.

In: the state machine's `{"version", "component", "evaluation", "labels"}`; the evaluation is empty for an
artifact that was brought from outside, the labels are for one that tells apart DeepLoc's ten. Out: the
requests made. Raises EndpointUnavailable while the component is still starting, which the state machine waits
out, and anything else to stop the promotion.

Proteins whose answers the evaluation tells must get the same ones here, within the differences of other
hardware; one alone must get the same answer as in company; and all of them within the stack's time.
"""

import time
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import BrokenContract
from functions.domain.locations import TEN, LabelSet, read_labels
from functions.domain.prediction import Prediction
from functions.services import Services, services
from functions.services.s3 import read_json

logger = Logger()

# The article's three proteins, for a model without an evaluation that has its answers.
GOLDEN = (
    "MGKKDASTTRTPVDQYRKQIGRQDYKKNKPVLKATRLKAEAKKAAIGIKEVILVTIAILVLLFAFYAFFFLNLTKTDIYEDSNN",
    "MSMTILPLELIDKCIGSNLWVIMKSEREFAGTLVGFDDYVNIVLKDVTEYDTVTGVTEKHSEMLLNGNGMCMLIPGGKPE",
    "MGGPTRRHQEEGSAECLGGPSTRAAPGPGLRDFHFTTAGPSKADRLGDAAQIHRERMRPVQCGDGSGERVFLQSPGSIGTLYIRLDLNSQRSTCC"
    "CLLNAGTKGMC",
)
TOLERANCE = 0.01  # of a probability: bfloat16 here, single precision there


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    labels = read_labels(event.get("labels", ""))
    return smoke(event["version"], event["component"], event.get("evaluation", ""), services(), labels)


def smoke(
    version: str, component: str, evaluation: str, aws: Services, labels: LabelSet = TEN
) -> dict[str, Any]:
    """Ask the component about golden proteins, together and the first alone. Raises BrokenContract."""
    expected = _expected(evaluation, aws) if evaluation else []
    sequences = [sequence for sequence, _ in expected] or list(GOLDEN)
    begin = time.monotonic()
    together = _answers(sequences, version, component, aws, labels)
    seconds = time.monotonic() - begin
    alone = _answers(sequences[:1], version, component, aws, labels)[0]
    if _distance(together[0], _values(alone)) > TOLERANCE:
        raise BrokenContract("the model answers differently in company")
    farthest = max(
        (_distance(*pair) for pair in zip(together, (v for _, v in expected), strict=bool(expected))),
        default=0.0,
    )
    if farthest > TOLERANCE:
        raise BrokenContract(
            f"expected the answers of the evaluation within {TOLERANCE}, found {farthest:.3f} beside them"
        )
    if seconds > aws.settings.smoke_seconds:
        raise BrokenContract(
            f"expected answers for {len(sequences)} proteins within {aws.settings.smoke_seconds:g} s, "
            f"found {seconds:.1f} s"
        )
    tried = {
        "version": version,
        "of": len(sequences),
        "compared": len(expected),
        "seconds": round(seconds, 3),
    }
    logger.info("model version answers", extra=tried)
    return tried


def _answers(
    sequences: list[str], version: str, component: str, aws: Services, labels: LabelSet
) -> list[Prediction]:
    answers = aws.endpoint.invoke(sequences, component=component, model_version=version, labels=labels)
    for answer in answers:
        if not isinstance(answer, Prediction):
            raise BrokenContract(f"the model cannot answer for a golden protein: {answer.reason}")
    return [answer for answer in answers if isinstance(answer, Prediction)]


def _expected(evaluation: str, aws: Services) -> list[tuple[str, list[float | None]]]:
    """Golden sequences, each with the probabilities in the evaluation: the locations', the membrane's."""
    golden = read_json(aws.s3, evaluation)["golden"]
    if not golden:
        raise BrokenContract("the evaluation tells no golden answers")
    return [(one["sequence"], [*one["probabilities"], one["membrane"]]) for one in golden]


def _values(answer: Prediction) -> list[float | None]:
    return [*answer.probabilities, answer.membrane]


def _distance(answer: Prediction, expected: list[float | None]) -> float:
    """The distance of the answer from the expected one; 1, the farthest, where one of them tells nothing."""
    pairs = zip(_values(answer), expected, strict=True)
    return max(
        abs(one - other) if one is not None and other is not None else float(one is not other)
        for one, other in pairs
    )
