"""The answers table: a model version's earlier answers about a sequence, of any upload.

Keys: pk is the sequence's digest, sk the model version and the preprocessing version; the explanation of an
answer stands beside it, with `#explanation` after them. Items expire.
"""

from collections.abc import Iterable
from typing import Any

from functions.domain.explanation import Explanation, dumped, loaded
from functions.domain.locations import LOCATION_NAMES
from functions.domain.prediction import Prediction, Unpredictable
from functions.domain.protein import PREPROCESSING_VERSION, Protein
from functions.domain.rows import Row, predicted_row
from functions.domain.upload import Upload
from functions.services.dynamodb import (
    Item,
    from_item,
    from_text,
    get_all,
    now_seconds,
    put_all,
    to_item,
    to_text,
)
from functions.services.wire import Database


class AnswersTable:
    """Known answers of every model version."""

    def __init__(self, database: Database, name: str, days: int) -> None:
        self.database = database
        self.name = name
        self.days = days

    def find(
        self, digests: Iterable[str], model_version: str, names: tuple[str, ...] = LOCATION_NAMES
    ) -> dict[str, Prediction]:
        """Look up the answers for these sequences, by digest; `names` are the version's locations."""
        sort_key = _sort_key(model_version)
        keys = [{"pk": digest, "sk": sort_key} for digest in sorted(set(digests))]
        known = {}
        for item in get_all(self.database, self.name, keys):
            values = from_item(item)
            known[values["pk"]] = Prediction(
                tuple(from_text(values["probabilities"])),
                None if values.get("membrane") is None else float(values["membrane"]),
                values["residues_read"],
                values["truncated"],
                values.get("uncertain"),  # older releases did not keep this and the following
                None if values.get("outside") is None else float(values["outside"]),
                values.get("outside_like", ""),
                values.get("relative"),
                None if values.get("locations_90") is None else tuple(values["locations_90"]),
                None if values.get("named") is None else tuple(values["named"]),
                None if values.get("sure") is None else float(values["sure"]),
                names,
            )
        return known

    def remember(self, answers: dict[str, Prediction], model_version: str) -> None:
        expires = now_seconds() + self.days * 86_400
        put_all(
            self.database,
            self.name,
            (
                {
                    "pk": digest,
                    "sk": _sort_key(model_version),
                    "expires": expires,
                    **to_item(_kept(prediction)),
                }
                for digest, prediction in answers.items()
            ),
        )

    def explanation(self, digest: str, model_version: str) -> Explanation | None:
        """Return the kept explanation of a version's answer for a sequence; None if it was not asked for."""
        answer = self.database.Table(self.name).get_item(Key=_explanation_key(digest, model_version))
        return loaded(str(answer["Item"]["explanation"])) if "Item" in answer else None

    def keep_explanation(self, digest: str, model_version: str, explanation: Explanation) -> None:
        expires = now_seconds() + self.days * 86_400
        item: Item = {
            **_explanation_key(digest, model_version),
            "expires": expires,
            "explanation": dumped(explanation),
        }
        self.database.Table(self.name).put_item(Item=item)


def _kept(prediction: Prediction) -> dict[str, Any]:
    """The values of an answer that are kept; its version knows the names of the locations."""
    values = prediction._asdict() | {"probabilities": to_text(prediction.probabilities)}
    left_out = ("names",) if prediction.named else ("names", "named", "sure")
    return {name: value for name, value in values.items() if name not in left_out}


def ended_rows(proteins: list[Protein], reason: str, upload: Upload, answers: AnswersTable) -> list[Row]:
    """The rows of a batch that is given up: its answers as far as they are known, the others failed."""
    digests = {protein.digest for protein in proteins}
    known = answers.find(digests, upload.model_version, upload.labels.names)
    return [
        predicted_row(protein, known.get(protein.digest, Unpredictable(reason)), upload)
        for protein in proteins
    ]


def _sort_key(model_version: str) -> str:
    return f"{model_version}#{PREPROCESSING_VERSION}"


def _explanation_key(digest: str, model_version: str) -> dict[str, str]:
    return {"pk": digest, "sk": f"{_sort_key(model_version)}#explanation"}
