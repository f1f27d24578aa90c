"""smoke: a new model version answers for proteins whose place is known, or is not put into service.

In: the state machine's `{"version": …, "component": …}`. Out: how many it placed right. Raises
EndpointUnavailable while the component is still starting, which the state machine waits out, and anything
else to stop the promotion.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.errors import BrokenContract
from functions.prediction import Prediction
from functions.services import Services, services

logger = Logger()

# The article's three proteins and where they belong.
GOLDEN: dict[str, str] = {
    "MGKKDASTTRTPVDQYRKQIGRQDYKKNKPVLKATRLKAEAKKAAIGIKEVILVTIAILVLLFAFYAFFFLNLTKTDIYEDSNN": (
        "Endoplasmic.reticulum"
    ),
    "MSMTILPLELIDKCIGSNLWVIMKSEREFAGTLVGFDDYVNIVLKDVTEYDTVTGVTEKHSEMLLNGNGMCMLIPGGKPE": "Nucleus",
    "MGGPTRRHQEEGSAECLGGPSTRAAPGPGLRDFHFTTAGPSKADRLGDAAQIHRERMRPVQCGDGSGERVFLQSPGSIGTLYIRLDLNSQRSTCC"
    "CLLNAGTKGMC": "Cytoplasm",
}


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return smoke(event["version"], event["component"], services())


def smoke(version: str, component: str, aws: Services) -> dict[str, Any]:
    """Ask the component about the golden proteins, together and one alone; both must agree."""
    sequences = list(GOLDEN)
    together = aws.endpoint.invoke(sequences, component=component, model_version=version)
    alone = aws.endpoint.invoke(sequences[:1], component=component, model_version=version)[0]
    for answer in (*together, alone):
        if not isinstance(answer, Prediction):
            raise BrokenContract(f"the model cannot answer for a golden protein: {answer.reason}")
    if together[0].location != alone.location:  # type: ignore[union-attr]
        raise BrokenContract("the model answers differently in company")
    right = sum(
        answer.location == expected  # type: ignore[union-attr]
        for answer, expected in zip(together, GOLDEN.values(), strict=True)
    )
    logger.info("model version answers", extra={"version": version, "right": right, "of": len(GOLDEN)})
    return {"version": version, "right": right, "of": len(GOLDEN)}
