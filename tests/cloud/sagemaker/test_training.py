"""A job gets its settings as SageMaker's training toolkit gives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protloc.cloud.sagemaker import training

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
    variables = training.variables(JOB, Path("/job"), training.decoded(SENT), gpus=0)
    assert variables["SM_MODEL_DIR"] == "/job/model"
    assert variables["SM_OUTPUT_DATA_DIR"] == "/job/output/data"
    assert variables["SM_CHANNEL_TRAINING"] == "/job/input/data/training"
    assert json.loads(variables["SM_CHANNELS"]) == ["training", "validation"]
    assert json.loads(variables["SM_HOSTS"]) == [variables["SM_CURRENT_HOST"]]
    assert variables["SM_NUM_GPUS"] == "0"
    assert variables["SM_HP_BATCH_SIZE"] == "4"
    assert json.loads(variables["SM_HPS"]) == {"epochs": 3, "batch-size": 4, "name": "plain"}


def test_the_last_value_of_a_metric_counts() -> None:
    definitions = [{"Name": "q10", "Regex": "q10=([0-9.]+)"}, {"Name": "none", "Regex": "nothing=([0-9]+)"}]
    metrics = training.metrics(definitions, "q10=0.5 then q10=0.6")
    assert [(metric["MetricName"], metric["Value"]) for metric in metrics] == [("q10", 0.6)]


def test_a_program_that_will_not_end_is_killed_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    command = [sys.executable, str(training.ATTACHED), str(os.getpid()), sys.executable, str(program)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    monkeypatch.setattr(training, "STOP_SECONDS", 0.5)
    training.stop(process)
    assert process.wait() == 128 + signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    process.stdout.close()


def test_a_command_that_is_asked_to_end_while_it_is_started_is_not_left_alone() -> None:
    program = (
        "import os, runpy, signal, subprocess, sys\n"
        "start = subprocess.Popen\n"
        "def start_and_be_asked(*words, **named):\n"
        "    process = start(*words, **named)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return process\n"
        "subprocess.Popen = start_and_be_asked\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    starter_lives = "import os, time\nstarter = os.getppid()\nwhile os.getppid() == starter: time.sleep(0.1)"
    words = [sys.executable, "-c", program, str(training.ATTACHED), str(os.getpid())]
    ended = subprocess.run([*words, sys.executable, "-c", starter_lives], check=False)
    assert ended.returncode == 128 + signal.SIGTERM, "the command's end, not the starter's"
