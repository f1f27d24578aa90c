"""A tiny encoder of each family: read as its own tokenizer reads, trained, judged, served, and asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, BertTokenizer, EsmTokenizer, T5EncoderModel

from model import encoder, train
from model.judging import judgement
from model.learning.encoders import read_tokenizer
from model.proteins.labelled import read_channel
from model.serving.artifact import pack, read_artifact, unpack
from model.serving.classifier import ProteinClassifier, load_pretrained
from model.serving.families import family_of, max_residues, read_config
from model.serving.heads import HeadSettings
from model.serving.inference import predict_fn
from model.serving.loading import load
from model.serving.tokens import window
from tests.model.encoders import T5, WRITERS, write_family
from tests.model.runs import start_several, write_channels
from tests.model.tiny import random_sequences
from tests.waiting import LIMIT_SECONDS

SEQUENCE = "MKVLAUZOBJX"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_channels(tmp_path_factory.mktemp("ml"))


@pytest.fixture(params=WRITERS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def arguments(channels: Path, out: Path, encoder: Path, *settings: str) -> list[str]:
    data = channels / "input" / "data"
    return [
        *("--training", str(data / "training"), "--validation", str(data / "validation" / "accessions.txt")),
        *("--encoder", str(encoder), "--model-dir", str(out), "--batch-size", "8", "--token-budget", "400"),
        *("--max-residues", "40", "--epochs", "1", "--model-version", "tiny-1", *settings),
    ]


def test_a_sequence_gets_the_ids_of_the_encoders_own_tokenizer(family: str, tmp_path: Path) -> None:
    folder = write_family(family, tmp_path / family)
    ids = read_tokenizer(folder).encode(SEQUENCE).tolist()
    rare = SEQUENCE.translate(str.maketrans("UZOBJ", "XXXXX"))
    if family == "bert":
        assert ids == BertTokenizer.from_pretrained(folder, do_lower_case=False)(" ".join(rare))["input_ids"]
    elif family == "t5":
        assert ids == [T5.index("<pad>"), *(T5.index(f"\u2581{letter}") for letter in rare), T5.index("</s>")]
    else:  # ESM has learned U, Z, O and B, and knows no J
        vocabulary = tmp_path / "vocab.txt"
        vocabulary.write_text("\n".join(read_tokenizer(folder).vocabulary))
        assert ids == EsmTokenizer(str(vocabulary))(SEQUENCE.replace("J", "X"))["input_ids"]


def test_the_encoder_sees_what_it_saw_in_its_own_training(family: str, tmp_path: Path) -> None:
    folder = write_family(family, tmp_path / family)
    classifier, tokenizer = load_pretrained(folder, 10, HeadSettings()).eval(), read_tokenizer(folder)
    assert all(value.dtype == torch.float32 for value in classifier.parameters())
    ids, mask = (torch.from_numpy(each) for each in tokenizer.pad([tokenizer.encode("MKVLA")], 40))
    with torch.inference_mode():
        states = classifier.encode(ids, mask)[0, 1:7]
        plain = ids[:, (family == "t5") : 7]  # a T5 has no token before the residues
        loader = T5EncoderModel if family == "t5" else AutoModel
        own = loader.from_pretrained(folder, dtype=torch.float32).eval()(
            plain, attention_mask=torch.ones_like(plain)
        )
    assert torch.allclose(states, own.last_hidden_state[0, plain.shape[1] - 6 :], atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        pytest.param(("--frozen-layers", "all"), marks=pytest.mark.slow),
        pytest.param(("--frozen-layers", "1", "--head", "linear"), marks=pytest.mark.slow),
        pytest.param(("--lora-rank", "2"), marks=pytest.mark.slow),
    ],
)
def test_each_family_is_trained_judged_served_and_asked(
    family: str, settings: tuple[str, ...], channels: Path, tmp_path: Path
) -> None:
    encoder.require_fit(folder := write_family(family, tmp_path / family))
    before = load_file(folder / "model.safetensors")
    train.main(arguments(channels, tmp_path / "out", folder, *settings))
    artifact = unpack(pack(tmp_path / "out", tmp_path / "model.tar.gz"), tmp_path / "served")
    assert artifact.metrics["proteins"] == 20 and artifact.training["encoder"] == str(folder)
    model = load(artifact.folder, CPU, torch.float32)
    if not family_of(read_config(artifact.folder)).packs:
        assert load(artifact.folder, CPU, torch.float16).dtype == torch.float32
    sequences = [*random_sequences([5, 40, 17, 60]), SEQUENCE]
    together = predict_fn(sequences, model)["predictions"]
    for sequence, answer in zip(sequences, together, strict=True):
        [alone] = predict_fn([sequence], model)["predictions"]
        assert np.allclose(alone["probabilities"], answer["probabilities"], atol=1e-5)
        assert answer["residues_read"] == min(len(sequence), artifact.max_residues)
    proteins = read_channel(channels / "input" / "data" / "training")[:10]
    assert judgement.evaluate(artifact.folder, proteins)["proteins"] == 10
    if settings[:2] == ("--frozen-layers", "all"):
        after = ProteinClassifier.load(
            artifact.folder, 10, HeadSettings(**dict(artifact.head))
        ).encoder.state_dict()
        names = before.keys() & after.keys()
        assert names and all(torch.equal(after[name], before[name].float()) for name in names)


@pytest.mark.slow
def test_two_processes_train_each_family_as_one_does(family: str, channels: Path, tmp_path: Path) -> None:
    folder = write_family(family, tmp_path / family)
    words = [*arguments(channels, tmp_path / "two", folder), "--dropout", "0"]
    running = start_several(words, 2)
    outputs = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    train.main([*arguments(channels, tmp_path / "one", folder), "--dropout", "0"])
    one, two = (read_artifact(tmp_path / name).training["history"][0] for name in ("one", "two"))
    assert one["training_loss"] == pytest.approx(two["training_loss"], abs=1e-3)
    assert one["validation_loss"] == pytest.approx(two["validation_loss"], abs=2e-2)


def test_each_family_reads_as_far_as_it_has_positions(family: str, tmp_path: Path) -> None:
    folder = write_family(family, tmp_path / family)
    classifier, tokenizer = load_pretrained(folder, 10, HeadSettings()).eval(), read_tokenizer(folder)
    most = min(max_residues(classifier.config), 100)
    assert most == {"bert": 48, "esm": 64, "esm1": 62, "esmc": 64, "t5": 100}[family]
    [sequence] = random_sequences([most])
    ids, mask = (
        torch.from_numpy(each) for each in tokenizer.pad([tokenizer.encode(window(sequence, most))], most + 2)
    )
    with torch.inference_mode():
        assert torch.isfinite(classifier(ids, mask)[0]).all()


def test_an_encoder_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_family("bert", tmp_path / "bert")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match=r"expected an encoder of type bert, esm, esmc, t5 .* found 'gpt2'"):
        encoder.require_fit(folder)
