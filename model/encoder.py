"""Makes a pretrained encoder ready for training jobs: safe weights, looked at, in S3.

    hf download Rostlab/prot_bert_bfd --local-dir prot_bert_bfd
    python -m model.encoder prot_bert_bfd --stack protloc

Prints the address that `--hyperparameter encoder=…` takes. Weights that come as `pytorch_model.bin` are
written once as `model.safetensors` beside it: a .bin is a pickle, which transformers reads with PyTorch 2.6
and later alone (https://github.com/huggingface/transformers/pull/37785), and SMDDP's newest image has 2.5.1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from model.launch import LaunchError, outputs
from model.learning.encoders import files_of, read_tokenizer

WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"
PREFIX = "encoders"  # in the stack's ModelsBucket, which its TrainingRole reads


def convert(folder: Path) -> bool:
    """Write a folder's pickled weights as safetensors if it has no others; returns whether it did."""
    if any(folder.glob("*.safetensors")) or not (folder / PICKLED).is_file():
        return False
    import torch
    from safetensors.torch import save_file

    weights = torch.load(folder / PICKLED, map_location="cpu", weights_only=True)
    # Cloned, since a masked language model's answers share their weights with the embeddings.
    tensors = {
        name: value.clone().contiguous() for name, value in weights.items() if value.ndim or value.numel()
    }
    partial = folder / f".{WEIGHTS}.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)
    return True


def require_fit(folder: Path) -> None:
    """Load the encoder as training does. Raises ValueError or OSError for one that it could not train."""
    from model.serving.classifier import load_pretrained
    from model.serving.heads import HeadSettings

    read_tokenizer(folder)
    load_pretrained(folder, 1, HeadSettings())


def upload(client: Any, folder: Path, bucket: str, prefix: str) -> str:
    """Put an encoder's files under a prefix; returns its address."""
    for name in files_of(path.name for path in folder.iterdir()):
        client.upload_file(str(folder / name), bucket, f"{prefix}/{name}")
    return f"s3://{bucket}/{prefix}/"


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert, check and upload an encoder."""
    parser = argparse.ArgumentParser(description="Make a pretrained encoder ready for training jobs.")
    parser.add_argument("folder", type=Path, help="as `hf download NAME --local-dir FOLDER` leaves it")
    parser.add_argument(
        "--stack", help="of this project, into whose ModelsBucket it goes; none: not uploaded"
    )
    parser.add_argument("--to", help="another s3:// prefix; name its bucket in the stack's EncoderBucket")
    options = parser.parse_args(arguments)
    try:
        print(prepare(options.folder, options.stack, options.to))
    except (LaunchError, ValueError, OSError, BotoCoreError, ClientError) as problem:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {problem}") from problem


def prepare(folder: Path, stack: str | None, place: str | None) -> str:
    """Convert, check and upload an encoder; returns its address, or its folder where it stays here."""
    if convert(folder):
        print(f"{folder / WEIGHTS} is written from {PICKLED}", file=sys.stderr)
    require_fit(folder)
    if stack is None and place is None:
        return str(folder)
    import boto3

    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    if place is None:
        bucket = outputs(session.client("cloudformation"), str(stack))["ModelsBucket"]
        place = f"s3://{bucket}/{PREFIX}/{folder.resolve().name}"
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    return upload(session.client("s3"), folder, bucket, prefix.rstrip("/"))


if __name__ == "__main__":
    main()
