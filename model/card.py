"""The model card: an artifact's README.md in Hugging Face's format, written from what the artifact says."""

from __future__ import annotations

import json
from typing import Any

from model.artifact import Artifact

CARD = """---
license: apache-2.0
library_name: transformers
tags:
- biology
- protein
- subcellular-localization
pipeline_tag: text-classification
model-index:
- name: {version}
  results:
  - task:
      type: text-classification
      name: Subcellular localization
    dataset:
      name: DeepLoc 1.0 ({split})
      type: deeploc
    metrics:
{index}
---

# {version}

Tells in which of {count} places of a eukaryotic cell a protein belongs, and whether it is bound to a
membrane, from its amino-acid sequence alone. A `transformers` BertModel with {parameters} under a
{head} head; made {created} by `model/train.py`.

## How good it is

Measured on {proteins} proteins, DeepLoc 1.0's {split} split{note}.

{figures}

{recalls}

## What it reads

Upper-case sequences; U, Z, O, B and J are read as X. Up to {max_residues} residues whole; of a longer
sequence the first and last {half}, which the answer reports (`residues_read`, `truncated`).
Probabilities are calibrated on the validation split by one temperature ({temperature}).

## How it was made

Trained on {trained} proteins (SHA-256 of what was learned from: `{digest}`) with:

```json
{training}
```

## What it is not

It was trained on DeepLoc 1.0, proteins of eukaryotes that live in one place: for bacteria, and for
proteins that live in two places, its answer names the most similar of its {count} places. A research
tool, not a diagnostic one.
"""


def write_card(artifact: Artifact) -> None:
    """Write README.md into the artifact's folder."""
    (artifact.folder / "README.md").write_text(card(artifact), encoding="utf-8")


def card(artifact: Artifact) -> str:
    """The text of the model card."""
    metrics, validation = artifact.metrics, artifact.metrics.get("validation")
    names = {
        "q10": "Q10 (accuracy)",
        "macro_f1": "Macro-F1",
        "membrane_q2": "Membrane Q2",
        "ece": "Calibration error (ECE)",
    }
    columns = [metrics] + ([validation] if validation else [])
    titles = [metrics["split"]] + (["validation"] if validation else [])
    figures = [f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(columns)}"]
    figures += [
        f"| {label} | {' | '.join(_shown(column[key]) for column in columns)} |"
        for key, label in names.items()
    ]
    recalls = [f"| recall of | {' | '.join(titles)} |", f"|---|{'---|' * len(columns)}"]
    recalls += [
        f"| {name} | {' | '.join(_shown(column['recall'][name]) for column in columns)} |"
        for name in artifact.locations
    ]
    index = [
        f"    - type: {key}\n      name: {label}\n      value: {metrics[key]}"
        for key, label in names.items()
        if metrics[key] is not None
    ]
    return CARD.format(
        version=artifact.version,
        split=metrics["split"],
        index="\n".join(index),
        count=len(artifact.locations),
        parameters=f"{artifact.training['parameters']:,} parameters",
        head=artifact.head["kind"],
        created=artifact.created,
        proteins=f"{metrics['proteins']:,}",
        note=", which chose nothing" if metrics["split"] == "test" else ", on which its settings were chosen",
        figures="\n".join(figures),
        recalls="\n".join(recalls),
        max_residues=f"{artifact.max_residues:,}",
        half=f"{artifact.max_residues // 2:,}",
        temperature=artifact.calibration["location_temperature"],
        trained=f"{artifact.data['proteins']:,}",
        digest=artifact.data["sha256"],
        training=json.dumps(artifact.training, indent=1),
    )


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}"
