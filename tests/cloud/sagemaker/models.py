"""A model and a training program in pure Python, packed as SageMaker wants them."""

from __future__ import annotations

import io
import tarfile

from tests.waiting import Gate

INFERENCE = (
    f"""
{Gate.source}"""
    + """
import json, os

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.json")) as file:
        weights = json.load(file)
    if weights.get("broken"):
        raise RuntimeError("no such weights")
    if "loading_gate" in weights:
        pass_gate(weights["loading_gate"])
    return weights

def input_fn(body, content_type):
    request = json.loads(body)
    if "sequences" not in request:
        raise ValueError("expected the field sequences")
    return request["sequences"]

def predict_fn(sequences, model):
    if "KILL" in sequences:
        os._exit(9)
    if "SECRET" in sequences:
        raise RuntimeError("SECRET must not be repeated")
    if "HELD" in sequences:
        pass_gate(model["gate"])
    about = {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")}
    return [{"length": len(sequence) * model["factor"], **about} for sequence in sequences]

def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction}), accept
"""
)

TRAIN = (
    f"""
{Gate.source}"""
    + """
import argparse, json, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--factor", type=int)
parser.add_argument("--gate", default="")
parser.add_argument("--fail", type=int, default=0)
arguments = parser.parse_args()
print("loss: 0.5;", flush=True)
if arguments.gate:
    pass_gate(arguments.gate)
if arguments.fail:
    sys.exit("the data has no proteins")
with open(os.path.join(os.environ["SM_CHANNEL_TRAINING"], "data.fasta")) as file:
    proteins = file.read().count(">")
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights.json"), "w") as file:
    json.dump({"factor": arguments.factor, "proteins": proteins, "job": os.environ["TRAINING_JOB_NAME"],
               "hosts": json.loads(os.environ["SM_HOSTS"]), "home": os.environ.get("USER")}, file)
os.makedirs(os.path.join(os.environ["SM_MODEL_DIR"], "code"))
with open(os.path.join(os.path.dirname(__file__), "inference.py")) as file:
    code = file.read()
with open(os.path.join(os.environ["SM_MODEL_DIR"], "code", "inference.py"), "w") as file:
    file.write(code)
print("loss: 0.25;", flush=True)
"""
)

# Counts to --steps, a checkpoint a step; in the step --die it ends as if the machine had been taken away, once.
STEPS = """
import argparse, json, os, signal, time
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int)
parser.add_argument("--die", type=int, default=0)
parser.add_argument("--always", type=int, default=0)
parser.add_argument("--checkpoint-dir", default=os.environ.get("PROTLOC_CHECKPOINT_DIR"))
arguments = parser.parse_args()
folder = Path(arguments.checkpoint_dir)
begun = max([int(path.stem) for path in folder.glob("*.step")], default=0)
for step in range(begun + 1, arguments.steps + 1):
    if step == arguments.die and (arguments.always or not begun):
        (folder / ".half.step").write_text("cut off")
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / ".writing").write_text(str(step))
    (folder / ".writing").replace(folder / f"{step}.step")
    (folder / f"{step - 1}.step").unlink(missing_ok=True)
    print(f"loss: {1 / step};", flush=True)
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights.json"), "w") as file:
    json.dump({"begun": begun, "found": sorted(path.name for path in folder.iterdir())}, file)
"""

# Waits at a gate; asked to end before it opens, it leaves a checkpoint behind.
ASKED = (
    f"""
{Gate.source}"""
    + """
import json, os, signal, sys
from pathlib import Path
folder = Path(os.environ["PROTLOC_CHECKPOINT_DIR"])
found = sorted(path.name for path in folder.iterdir())
def leave(number, frame):
    (folder / "asked.step").write_text("1")
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, leave)
pass_gate(sys.argv[2])
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights.json"), "w") as file:
    json.dump({"found": found}, file)
"""
)

# Calls that a job may make to S3 by itself: as its role.
ALONE = """
import os, boto3, botocore.exceptions, sys
client, bucket = boto3.client("s3"), sys.argv[2]
client.put_object(Bucket=bucket, Key="models/alone", Body=b"written by the job")
try:
    client.put_object(Bucket=bucket, Key="in/forbidden", Body=b"")
    sys.exit("it may write everywhere")
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""


def packed(files: dict[str, str]) -> bytes:
    """A tar.gz of text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def artifact(weights: str = '{"factor": 2}', **files: str) -> bytes:
    return packed({"weights.json": weights, "code/inference.py": INFERENCE, **files})


def source() -> bytes:
    return packed(
        {
            "model/train.py": TRAIN,
            "model/inference.py": INFERENCE,
            "model/steps.py": STEPS,
            "model/asked.py": ASKED,
            "model/alone.py": ALONE,
        }
    )
