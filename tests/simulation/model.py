"""The endpoint in memory, shaped like boto3's runtime client, and a model whose answers show whose they are."""

from __future__ import annotations

import hashlib
import io
import json
import math
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from functions.domain.locations import LOCATION_NAMES
from tests.simulation.scheduler import Simulation
from tests.simulation.surroundings import refusal

Answer = dict[str, Any]

CONTAINER_SECONDS = 60.0
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""


def true_answer(sequence: str, model_version: str) -> Answer:
    """A model version's answer for a sequence: different from any other's, and the same every time."""
    digest = hashlib.sha256(f"{model_version} {sequence}".encode()).digest()
    weights = [byte + 1 for byte in digest[:10]]
    parts = [weight * 9_000 // sum(weights) for weight in weights]
    parts[digest[12] % 10] += 10_000 - sum(parts)  # one is the most probable, by a tenth at least
    return {
        "probabilities": [part / 10_000 for part in parts],
        "membrane": round(int.from_bytes(digest[10:12], "big") / 65_535, 4),
        "residues_read": len(sequence),
        "truncated": False,
        "checksum": f"{crc32(sequence.encode()):08x}",
    }


@dataclass
class Weather:
    """The behaviour of the endpoint over time; moments are seconds since the epoch."""

    poison: dict[str, str] = field(default_factory=dict)  # sequence: "refused", "kills", "told" or "hangs"
    mended: float = math.inf
    """From when on the model can answer for what was poison."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    """Nobody answers."""
    sick: list[tuple[float, float]] = field(default_factory=list)
    """The model fails on everything."""
    deaf: list[tuple[float, float]] = field(default_factory=list)
    """EventBridge takes no event."""
    warm_seconds: float = 0.0
    """The seconds that the first instance takes to come up; before the first call there is none."""
    killed_seconds: float = 60.0
    """The seconds that a killed model takes to come back."""
    answer_seconds: float = 0.0
    """The most seconds that it thinks about a call."""
    loaded: list[tuple[float, float]] = field(default_factory=list)
    """Others ask so much of it that each sequence takes `loaded_seconds`; a call is given up after 60 s."""
    loaded_seconds: float = 0.0
    refusing_seconds: float = 0.0
    """The seconds that it takes to fail on a protein that it fails on."""
    checksums: bool = True
    """True if answers carry a checksum of their sequence; those of older artifacts don't."""

    @property
    def hangs(self) -> bool:
        """True if some protein may keep the model busy for longer than SageMaker waits, each time."""
        failing = self.refusing_seconds + self.answer_seconds >= CONTAINER_SECONDS
        kinds = set(self.poison.values())
        return "hangs" in kinds or (failing and bool(kinds & {"refused", "kills"}))


class ModelRuntime:
    """One endpoint with every model version behind it."""

    def __init__(self, simulation: Simulation, weather: Weather) -> None:
        self._simulation, self._weather = simulation, weather
        self.listeners: list[Callable[[list[str], str], None]] = []
        self._warm = 0.0
        self._back = 0.0

    def invoke_endpoint(
        self,
        *,
        EndpointName: str,  # noqa: N803
        InferenceComponentName: str,  # noqa: N803
        ContentType: str,  # noqa: N803
        Accept: str,  # noqa: N803
        Body: bytes,  # noqa: N803
    ) -> dict[str, Any]:
        sequences: list[str] = json.loads(Body)["sequences"]
        version = InferenceComponentName.removeprefix("stack-")
        seconds = self._seconds(sequences)
        self._simulation.work(seconds)

        def apply() -> dict[str, Any]:
            outcome = "timed out" if seconds >= CONTAINER_SECONDS else self._outcome(sequences)
            invocation = self._simulation.current
            if invocation is not None:
                invocation.model_calls.append((tuple(sequences), outcome))
            for listener in self.listeners:
                listener(sequences, version)
            self._simulation.tell(f"  the model: {outcome}")
            match outcome:
                case "unavailable":
                    code = self._simulation.random.choice(("ValidationError", "ModelNotReadyException"))
                    raise refusal("sagemaker-runtime.InvokeEndpoint", code)
                case "refused":
                    raise refusal("sagemaker-runtime.InvokeEndpoint", "ModelError", OriginalStatusCode=500)
                case "timed out":
                    raise refusal("sagemaker-runtime.InvokeEndpoint", "ModelError", OriginalStatusCode=0)
            return {"Body": io.BytesIO(self._body(sequences, version))}

        about = (version, len(sequences), *sequences)
        return self._simulation.step("sagemaker-runtime.InvokeEndpoint", about, apply)

    def _seconds(self, sequences: list[str]) -> float:
        """The seconds a call takes; SageMaker gives up a call that takes the container longer than a minute."""
        now, weather = self._simulation.now, self._weather
        kinds = {self._poison(sequence) for sequence in sequences}
        seconds = self._simulation.random.random() * weather.answer_seconds
        if _within(now, weather.outages):
            return 0.0
        if _within(now, weather.loaded):
            seconds += len(sequences) * weather.loaded_seconds
        if kinds & {"refused", "kills"}:
            seconds += weather.refusing_seconds
        return CONTAINER_SECONDS if "hangs" in kinds else min(seconds, CONTAINER_SECONDS)

    def _outcome(self, sequences: list[str]) -> str:
        now, weather = self._simulation.now, self._weather
        if not self._warm:
            self._warm = now + weather.warm_seconds
        if now < max(self._warm, self._back) or _within(now, weather.outages):
            return "unavailable"
        if _within(now, weather.sick):
            return "refused"
        kinds = {self._poison(sequence) for sequence in sequences}
        if "kills" in kinds:
            self._back = now + weather.killed_seconds
            return "refused"
        return "refused" if "refused" in kinds else "answered"

    def _poison(self, sequence: str) -> str | None:
        return self._weather.poison.get(sequence) if self._simulation.now < self._weather.mended else None

    def _body(self, sequences: list[str], version: str) -> bytes:
        answers = [
            {"error": "the protein is beyond this model"}
            if self._poison(sequence) == "told"
            else true_answer(sequence, version)
            for sequence in sequences
        ]
        if not self._weather.checksums:
            answers = [{name: each[name] for name in each if name != "checksum"} for each in answers]
        answer = {"model_version": version, "locations": list(LOCATION_NAMES), "predictions": answers}
        chance = self._simulation.random
        if self._simulation.faulty and chance.random() < self._simulation.faults.answers:
            if self._simulation.current:
                self._simulation.current.disturbed += 1
            reordered = len(sequences) > 1 and chance.random() < 0.5
            return _spoilt(answer, sequences, "reordered" if reordered else chance.choice(_SPOILS))
        return json.dumps(answer).encode()


_SPOILS = ("too few", "too many", "not a number", "another version", "no JSON")


def _spoilt(answer: Answer, sequences: list[str], how: str) -> bytes:
    answers = answer["predictions"]
    match how:
        case "too few":
            answers = answers[:-1]
        case "too many":
            answers = [*answers, answers[-1]]
        case "not a number":
            answers = [answers[0] | {"membrane": float("nan")}, *answers[1:]]
        case "another version":
            answer = answer | {"model_version": "someone-else"}
        case "no JSON":
            return b"<html>502</html>"
        case "reordered":
            answers = _reordered(answers, sequences)
    return json.dumps(answer | {"predictions": answers}).encode()


def _reordered(answers: list[Answer], sequences: list[str]) -> list[Answer]:
    """Two answers change places, by preference such that fit by their length, which only checksums tell."""
    places = [place for place, answer in enumerate(answers) if "checksum" in answer]
    for one, other in combinations(places, 2):
        if len(sequences[one]) == len(sequences[other]):
            answers = list(answers)
            answers[one], answers[other] = answers[other], answers[one]
            return answers
    turned = answers[1:] + answers[:1]
    read = [answer.get("residues_read") for answer in turned]
    shows = any(r not in (None, len(s)) for r, s in zip(read, sequences, strict=True))
    return turned if shows else answers


def _within(moment: float, spans: list[tuple[float, float]]) -> bool:
    return any(start <= moment < end for start, end in spans)


class EventBus:
    """EventBridge in memory: hands each event to its listeners."""

    def __init__(self, simulation: Simulation, weather: Weather) -> None:
        self._simulation, self._weather = simulation, weather
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        def apply() -> dict[str, Any]:
            simulation = self._simulation
            if _within(simulation.now, self._weather.deaf):
                raise refusal("events.PutEvents", "InternalFailure", status=500)
            if simulation.faulty and simulation.random.random() < simulation.faults.undone:
                if simulation.current:
                    simulation.current.disturbed += 1
                return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
            for entry in Entries:
                detail = json.loads(entry["Detail"])
                for listener in self.listeners:
                    listener(detail)
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

        return self._simulation.step("events.PutEvents", "UploadCompleted", apply)
