"""A sequence is asked about once for each model version and way of reading it, in any file."""

import random

import pytest

from functions.domain.errors import EndpointRefused
from functions.domain.packing import PackingSettings
from functions.domain.prediction import Answer
from functions.domain.remarks import UNLIKE
from functions.predict import predict
from functions.receive import receive
from tests.functions.test_flow import fasta
from tests.functions.world import World, unavailable, world


def test_the_second_run_of_a_proteome_asks_nothing(running_world: World) -> None:
    body = fasta(200)
    first = running_world.run(running_world.upload(body))
    calls, asked = running_world.model.calls, list(running_world.model.asked)
    assert len(asked) == len(set(asked)) == 200
    running_world.model.trouble = unavailable  # a call now would have to wait
    again = running_world.run(running_world.upload(body, key="again.fasta"))
    assert running_world.model.calls == calls
    assert running_world.rows(again) == running_world.rows(first)


def test_only_what_is_new_in_a_file_is_asked_about(running_world: World) -> None:
    running_world.run(running_world.upload(fasta(50)))
    running_world.model.asked.clear()
    new = fasta(5, seed=9)
    running_world.run(running_world.upload(fasta(50) + new, key="more.fasta"))
    assert sorted(running_world.model.asked) == sorted(line.decode() for line in new.splitlines()[1::2])


def test_another_file_order_name_or_case_is_no_other_sequence(running_world: World) -> None:
    sequences = fasta(30).splitlines()[1::2]
    running_world.run(running_world.upload(fasta(30)))
    calls = running_world.model.calls
    random.Random(3).shuffle(sequences)
    body = b"".join(b">other%d\n%s*\n" % (n, s.lower()) for n, s in enumerate(sequences))
    running_world.run(running_world.upload(body, key="b.fasta"))
    assert running_world.model.calls == calls


def test_a_new_model_version_is_asked_itself_and_the_old_answers_stay(running_world: World) -> None:
    body = fasta(20)
    running_world.run(running_world.upload(body))
    running_world.activate("test-2")
    running_world.model.asked.clear()
    second = running_world.run(running_world.upload(body, key="second.fasta"))
    assert len(running_world.model.asked) == 20
    assert {row["model_version"] for row in running_world.rows(second)} == {"test-2"}
    calls = running_world.model.calls
    running_world.activate("test-1")  # rolled back
    third = running_world.run(running_world.upload(body, key="third.fasta"))
    assert running_world.model.calls == calls
    assert {row["model_version"] for row in running_world.rows(third)} == {"test-1"}


def test_another_way_of_reading_is_asked_about_anew(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_world.run(running_world.upload(fasta(20)))
    monkeypatch.setattr("functions.services.answers_table.PREPROCESSING_VERSION", "another")
    running_world.model.asked.clear()
    running_world.run(running_world.upload(fasta(20), key="again.fasta"))
    assert len(running_world.model.asked) == 20


def test_an_answer_that_an_older_release_kept_is_taken_without_its_doubts(running_world: World) -> None:
    running_world.run(running_world.upload(fasta(5)))
    table = running_world.database.Table("AnswersTable")
    for item in table.scan()["Items"]:
        names = ("pk", "sk", "expires", "probabilities", "membrane", "residues_read", "truncated")
        table.put_item(Item={name: item[name] for name in names})
    running_world.model.trouble = unavailable
    rows = running_world.rows(running_world.run(running_world.upload(fasta(5), key="again.fasta")))
    assert [(row["status"], row["uncertain"]) for row in rows] == [("predicted", None)] * 5
    assert not any(UNLIKE in remark for row in rows for remark in row["remarks"])


def test_the_doubts_of_an_answer_are_kept_with_it(running_world: World) -> None:
    invoke = running_world.model.invoke

    def doubtful(sequences: list[str], **names: str) -> list[Answer]:
        answers = invoke(sequences, **names)
        return [a._replace(uncertain=True, outside=0.97, outside_like="artificial") for a in answers]  # type: ignore[union-attr]

    running_world.model.invoke = doubtful  # type: ignore[assignment, method-assign]
    first = running_world.rows(running_world.run(running_world.upload(fasta(5))))
    running_world.model.trouble = unavailable
    again = running_world.rows(running_world.run(running_world.upload(fasta(5), key="again.fasta")))
    assert first == again
    assert all(row["uncertain"] for row in again)
    assert {row["remarks"][-1].split(",")[0] for row in again} == {UNLIKE}


def test_a_failure_of_the_model_is_not_kept_as_an_answer(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(5)), running_world.aws)
    assert identity
    running_world.split_shards()
    (message,) = running_world.take(running_world.aws.batches_queue)
    running_world.model.trouble = unavailable
    predict(message, running_world.aws)
    table = running_world.database.Table("AnswersTable")
    assert table.scan()["Items"] == []


def test_a_sequence_in_several_batches_is_asked_about_once_by_each_of_those_in_flight_at_most() -> None:
    """Batches that begin before the first answer is written do not know of it: a race, and all it costs."""
    in_flight = 3
    body = b">x\nMKVLAAGGWY\n" + b"".join(
        b">p%d\n%s\n>x\nMKVLAAGGWY\n" % (n, b"AC" * (20 + n)) for n in range(30)
    )
    with world(shard_bytes=10_000, packing=PackingSettings(batch_proteins=8, window_records=8)) as here:
        here.activate()
        identity = receive(here.upload(body), here.aws)
        assert identity
        here.split_shards()
        messages = here.take(here.aws.batches_queue)
        assert sum("MKVLAAGGWY" in str(message) for message in messages) > in_flight
        find = here.aws.answers.find
        looked = {}
        for message in messages[:in_flight]:  # all of them look before any of them answers
            digests = [_digest(protein["sequence"]) for protein in message["proteins"]]
            looked[message["batch"]] = find(digests, "test-1")
        for message in messages:
            if message["batch"] in looked:
                here.aws.answers.find = lambda *_, known=looked[message["batch"]]: known  # type: ignore
            else:
                here.aws.answers.find = find  # type: ignore[method-assign]
            predict(message, here.aws)
        assert here.model.asked.count("MKVLAAGGWY") == in_flight
        assert all(here.model.asked.count(s) == 1 for s in set(here.model.asked) - {"MKVLAAGGWY"})
        here.complete(identity)
        assert len({str(row["p:Nucleus"]) for row in here.rows(identity) if row["length"] == 10}) == 1


def _digest(sequence: str) -> str:
    from functions.domain.protein import Protein

    return Protein(0, 0, "", "", sequence, ()).digest


def test_answers_to_a_file_that_is_asked_about_once_are_looked_up_but_not_kept() -> None:
    body = fasta(20)
    with world(shard_bytes=2_000, answers_bytes=len(body)) as made:
        made.activate()
        made.run(made.upload(body))
        large = made.upload(body + fasta(10, seed=9), key="large.fasta")
        made.model.asked.clear()
        identity = made.run(large)
        assert len(made.model.asked) == 10 and len(made.rows(identity)) == 30
        assert made.database.Table("AnswersTable").scan(Select="COUNT")["Count"] == 20


def test_what_was_answered_before_a_batch_has_to_wait_is_kept_whatever_the_file() -> None:
    """A model too slow for a batch would never come to its end else."""
    with world(answers_bytes=0) as made:
        made.activate()
        identity = receive(made.upload(fasta(16)), made.aws)
        assert identity
        made.split_shards()
        (message,) = made.take(made.aws.batches_queue)
        milliseconds = iter([1_000.0] * 6 + [0.0] * 1_000)
        calls: list[int] = []

        def trouble(sequences: list[str]) -> None:
            calls.append(len(sequences))
            if len(sequences) > 2:
                raise EndpointRefused("the model failed with status 500")

        made.model.trouble = trouble
        predict(message, made.aws, lambda: next(milliseconds))
        kept = made.database.Table("AnswersTable").scan(Select="COUNT")["Count"]
        assert 0 < kept < 16 and made.status(identity) == "running"
