"""A job gets its settings as SageMaker's training toolkit gives them."""

from __future__ import annotations

import json
from pathlib import Path

from protloc.cloud import training

JOB = {
    "TrainingJobName": "job-1",
    "TrainingJobArn": "arn:aws:sagemaker:us-east-1:1:training-job/job-1",
    "InputDataConfig": [{"ChannelName": "training"}, {"ChannelName": "validation"}],
}
SENT = {
    "epochs": "3",
    "batch-size": "4",
    "name": "plain",
    "sagemaker_program": '"model/train.py"',
    "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"',
}


def test_hyperparameters_are_json_inside_strings() -> None:
    assert training.decoded(SENT) == {
        "epochs": 3,
        "batch-size": 4,
        "name": "plain",
        "sagemaker_program": "model/train.py",
        "sagemaker_submit_directory": "s3://bucket/sourcedir.tar.gz",
    }


def test_only_the_programs_own_become_arguments() -> None:
    words = training.arguments(training.decoded(SENT))
    assert words == ["--batch-size", "4", "--epochs", "3", "--name", "plain"]


def test_variables_name_folders_channels_hosts_and_hyperparameters() -> None:
    given = training.variables(JOB, Path("/job"), training.decoded(SENT), gpus=0)
    assert given["SM_MODEL_DIR"] == "/job/model"
    assert given["SM_OUTPUT_DATA_DIR"] == "/job/output/data"
    assert given["SM_CHANNEL_TRAINING"] == "/job/input/data/training"
    assert json.loads(given["SM_CHANNELS"]) == ["training", "validation"]
    assert json.loads(given["SM_HOSTS"]) == [given["SM_CURRENT_HOST"]]
    assert given["SM_NUM_GPUS"] == "0"
    assert given["SM_HP_BATCH_SIZE"] == "4"
    assert json.loads(given["SM_HPS"]) == {"epochs": 3, "batch-size": 4, "name": "plain"}


def test_the_last_value_of_a_metric_counts() -> None:
    definitions = [{"Name": "q10", "Regex": "q10=([0-9.]+)"}, {"Name": "none", "Regex": "nothing=([0-9]+)"}]
    found = training.metrics(definitions, "q10=0.5 then q10=0.6")
    assert [(metric["MetricName"], metric["Value"]) for metric in found] == [("q10", 0.6)]
