"""Made-up answers for real or made-up records, always the same ones, so that pages can be looked at without a model.

python -m tests.page.made REPORT.html [--fasta FILE] [--records N]
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from functions.domain.fasta import read_records
from functions.domain.locations import LOCATION_NAMES
from functions.domain.prediction import RELATIVES, Prediction
from functions.domain.protein import Protein, read_protein
from functions.domain.rows import Row, exported, predicted_row, rejected_row
from functions.domain.upload import Source, Upload
from functions.page.report import report

MODEL = Path(__file__).parents[2] / "model" / "default" / "artifact.json"
VERSION = json.loads(MODEL.read_text(encoding="utf-8"))["version"]
UPLOAD = Upload("abcdefghijklmnopqrstuvwxyz", Source("uploads", "2026-11-26/0a1b2c/yeast.fasta", "1"), 3_000_000,
                VERSION, "2026-11-26T02:00:00Z", 0, True)  # fmt: skip
SHARES = (9, 26, 8, 6, 3, 3, 14, 28, 2, 1)
"""Of the ten locations among made-up answers, in percent."""


def fasta(records: int) -> bytes:
    """A made-up proteome, in which one record in eighty is no protein."""
    draw = random.Random(7)
    texts = []
    for number in range(records):
        length = min(int(draw.lognormvariate(5.8, 0.7)) + 12, 4_000)
        sequence = "M" + "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=length))
        if number % 80 == 79:
            sequence = sequence[:20] + "1" + sequence[20:]
        if number % 11 == 0:
            sequence = sequence.lower()
        name = f"sp|P{number % 100_000:05d}|Y{number:06d}_YEAST"
        texts.append(
            f">{name} Made-up protein {number} OS=Saccharomyces cerevisiae OX=559292 GN=G{number}\n{sequence}\n"
        )
    return "".join(texts).encode()


def rows(text: bytes) -> Iterator[Row]:
    """A row for each record of a FASTA text, in file order, as the exports have it."""
    draw = random.Random(3)
    for record in read_records([text]):
        one = read_protein(record)
        if not isinstance(one, Protein):
            yield exported(rejected_row(one), 0)
            continue
        best = draw.choices(range(10), SHARES)[0]
        weights = [draw.gammavariate(0.25, 1) * share / 10 for share in SHARES]
        weights[best] += max(weights) + draw.gammavariate(1.6, 1.2)
        probabilities = tuple(round(weight / sum(weights), 4) for weight in weights)
        bound = (
            0.85
            if LOCATION_NAMES[best] in ("Cell.membrane", "Endoplasmic.reticulum", "Golgi.apparatus")
            else 0.15
        )
        membrane = round(min(max(draw.gauss(bound, 0.15), 0), 1), 4)
        read = min(len(one.sequence), 2_046)
        answer = Prediction(
            probabilities, membrane, read, read < len(one.sequence), max(probabilities) < 0.46
        )
        likely = sorted(range(10), key=lambda at: -probabilities[at])[: draw.choice((1, 2, 4))]
        answer = answer._replace(
            relative=draw.choice(RELATIVES), locations_90=tuple(LOCATION_NAMES[at] for at in likely)
        )
        yield exported(predicted_row(one, answer, UPLOAD), 0)


def explanation(row: Row, sequence: str) -> dict[str, Any]:
    """A made-up explanation of a row as the API gives it: its first twenty residues matter, and its last three.

    Residues that are not read of a long protein have no importance.
    """
    length = len(sequence)
    importance: list[float | None] = [
        round(2.5 * math.exp(-(((at - 9) / 7) ** 2)) + (at >= length - 3) + 0.15 * math.sin(at / 3), 4)
        for at in range(length)
    ]
    tail = row["residues_read"] // 2
    importance[row["residues_read"] - tail : length - tail] = [None] * (length - row["residues_read"])
    return {
        "upload": UPLOAD.upload_id,
        "offset": row["offset"],
        "accession": row["accession"],
        "model_version": VERSION,
        "location": row["location"],
        "probability": row["confidence"],
        "window": 5,
        "importance": importance,
        "marked": [*range(1, 21), *range(length - 2, length + 1)],
        "without_marked": round(row["confidence"] / 4, 4),
        "without_others": round(row["confidence"] * 0.95, 4),
        "sequence": sequence,
    }


def about(answers: list[Row]) -> dict[str, Any]:
    """The upload of these rows as the API shows it."""
    statuses = [row["status"] for row in answers]
    return {
        "upload": UPLOAD.upload_id,
        **UPLOAD.source._asdict(),
        "bytes": UPLOAD.size,
        "status": "complete",
        "reason": None,
        "model_version": UPLOAD.model_version,
        "attempts": 1,
        "created": UPLOAD.created,
        "finished": "2026-11-26T02:03:00Z",
        "records": len(answers),
        **{name: statuses.count(name) for name in ("predicted", "rejected", "failed")},
        "residues": sum(row["length"] for row in answers if row["status"] == "predicted"),
        "results": {
            name: f"s3://results/results/{UPLOAD.upload_id}/results.{name}" for name in ("tsv", "jsonl")
        },
    }


def model() -> dict[str, Any]:
    """The model that comes with protloc, as the API shows it."""
    description = json.loads(MODEL.read_text(encoding="utf-8"))
    return {
        "version": description["version"],
        "created": description["created"],
        "metrics": description["metrics"],
    }


def write(path: Path, answers: list[Row], **changes: Any) -> Path:
    """Write the report of these rows; `changes` are to the upload in the API."""
    path.write_bytes(b"".join(report(answers, about(answers) | changes, model())))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--fasta", type=Path)
    parser.add_argument("--records", type=int, default=6_000)
    options = parser.parse_args()
    answers = list(rows(options.fasta.read_bytes() if options.fasta else fasta(options.records)))
    write(options.report, answers)


if __name__ == "__main__":
    main()
