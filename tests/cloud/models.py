"""A model and a training program in pure Python, packed as SageMaker wants them."""

from __future__ import annotations

import io
import tarfile

INFERENCE = """
import json, os, time

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.json")) as file:
        weights = json.load(file)
    if weights.get("broken"):
        raise RuntimeError("no such weights")
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
    time.sleep(0.3 if "SLOW" in sequences else 0)
    return [{"length": len(sequence) * model["factor"], "pid": os.getpid()} for sequence in sequences]

def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction}), accept
"""

TRAIN = """
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--factor", type=int)
parser.add_argument("--seconds", type=float, default=0)
parser.add_argument("--fail", type=int, default=0)
arguments = parser.parse_args()
print("loss: 0.5;", flush=True)
time.sleep(arguments.seconds)
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


def packed(files: dict[str, str]) -> bytes:
    """A tar.gz of text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def artifact(weights: str = '{"factor": 2}') -> bytes:
    return packed({"weights.json": weights, "code/inference.py": INFERENCE})


def source() -> bytes:
    return packed({"model/train.py": TRAIN, "model/inference.py": INFERENCE})
