"""Each doubt is a remark on its row, and where there are many, a warning on the upload."""

import pytest

from functions.domain.prediction import Prediction
from functions.domain.remarks import MIN_ANSWERS_TO_WARN, UNLIKE, Doubts, doubts
from tests.functions.world import World

ECOLI = "sp|P1|X_ECOLI Y OS=Escherichia coli (strain K12) OX=83333"
HUMAN = "sp|P2|X_HUMAN Y OS=Homo sapiens OX=9606"
SEQUENCE = "MKVLAAGGWLTRDEFHISPQYNCMKTLLVVAG"  # whole and long enough, so that nothing else is remarked on
NUCLEAR = Prediction((*[0.01] * 7, 0.91, 0.01, 0.01), 0.2, 30, False)
PLASTID = Prediction((*[0.01] * 9, 0.91), 0.2, 30, False)


@pytest.mark.parametrize(
    ("prediction", "header", "organism", "remarks"),
    [
        (NUCLEAR, HUMAN, "", []),
        (NUCLEAR, "P1", "", []),
        (NUCLEAR, ECOLI, "", ["of bacteria, and the model knows eukaryotic cells only"]),
        (NUCLEAR, "P1", "viruses", ["of viruses, and the model knows eukaryotic cells only"]),
        (NUCLEAR, HUMAN, "bacteria", []),  # the record goes before the sender's word
        (PLASTID, HUMAN, "", ["animals have no plastids"]),
        (PLASTID, "P1", "fungi", ["fungi have no plastids"]),
        (PLASTID, "P1 OS=Plasmodium falciparum", "", []),  # which has one
        (PLASTID, "P1", "plants", []),
        (NUCLEAR._replace(outside=0.99), "P1", "", []),  # within the artifact's bound
    ],
)
def test_doubts_about_a_prediction_are_stated(
    prediction: Prediction, header: str, organism: str, remarks: list[str]
) -> None:
    assert doubts(prediction, header, organism) == remarks


@pytest.mark.parametrize("like", ["prokaryotic", "artificial", "something that a later model knows"])
def test_a_protein_beyond_the_models_knowledge_is_remarked_with_its_distance(like: str) -> None:
    (remark,) = doubts(NUCLEAR._replace(outside=0.981, outside_like=like), "P1", "")
    assert remark.startswith(f"{UNLIKE}, 98.1% of which are less so")


def row(*remarks: str, status: str = "predicted") -> dict[str, object]:
    return {"status": status, "remarks": list(remarks)}


def test_single_proteins_unlike_the_known_ones_warn_of_no_upload() -> None:
    """5 in a hundred are by the artifact's own measure, and one or two of twenty are by chance."""
    for unlike, others in ((3, MIN_ANSWERS_TO_WARN), (9, 100), (2, 1), (1, 0), (MIN_ANSWERS_TO_WARN - 1, 0)):
        doubts = Doubts()
        for each in [row(UNLIKE)] * unlike + [row()] * others + [row(status="rejected")] * 50:
            doubts.count(each)
        assert doubts.warnings() == []


def test_many_proteins_unlike_the_known_ones_warn_of_the_upload() -> None:
    doubts = Doubts()
    for each in [row("lower case read as upper case", f"{UNLIKE}, 99.0% of …")] * 8 + [row()] * 12:
        doubts.count(each)
    assert doubts.warnings() == [f"8 of 20 answers are for proteins {UNLIKE}"]


def test_an_upload_of_bacteria_is_warned_of_and_each_row_says_why(running_world: World) -> None:
    body = f">{ECOLI}\n{SEQUENCE}\n>{HUMAN}\n{SEQUENCE}A\n>x\n\n".encode()
    identity = running_world.run(running_world.upload(body))
    rows = running_world.rows(identity)
    assert [len(each["remarks"]) for each in rows] == [1, 0, 0]
    item = running_world.item(identity)
    assert item["warnings"] == [
        "1 of 2 answers are for proteins of bacteria, and the model knows eukaryotic cells only"
    ]


def test_the_organism_a_file_is_sent_with_speaks_for_the_records_that_name_none(running_world: World) -> None:
    event = running_world.upload(
        f">a\n{SEQUENCE}\n>{HUMAN}\n{SEQUENCE}A\n".encode(), organism="Bacillus subtilis"
    )
    identity = running_world.run(event)
    assert [len(each["remarks"]) for each in running_world.rows(identity)] == [1, 0]
    assert running_world.aws.uploads.get(identity).organism == "bacteria"


def test_an_organism_that_nobody_knows_is_no_remark(running_world: World) -> None:
    event = running_world.upload(f">a\n{SEQUENCE}\n".encode(), organism="Nomen nescio")
    identity = running_world.run(event)
    assert running_world.rows(identity)[0]["remarks"] == []
    assert running_world.item(identity)["warnings"] == []
