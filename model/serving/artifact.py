"""The artifact: the one thing that training hands to serving, a folder or its `model.tar.gz`.

Holds `config.json`, `model.safetensors`, `vocab.txt` + `tokenizer_config.json` (of
`transformers.BertTokenizer`), `artifact.json` (labels, head, limits, figures), `README.md` (model card);
packed, also `code/`, which a serving container imports, and for AWS's Ray Serve container `config.yaml` and
`deployment.py` at the root. Packing is deterministic and unpacking writes nowhere but into its folder.
Imports neither torch nor transformers.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

FORMAT = 1
DESCRIPTION = "artifact.json"
# Limits of an unpacked archive. Weights hardly shrink; a bomb is a thousand times its size.
MAX_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 32 << 30
MAX_RATIO, ALWAYS_UNPACKED_BYTES = 100, 64 << 20
MAX_READ_BYTES = 1 << 20
ARCHIVE = "model.tar.gz"  # as SageMaker names the output of a training job
VERSION_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # it becomes part of AWS resource names
REQUIRED_FILES = ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", DESCRIPTION)
ENTRY_POINT = '''"""Imported by a serving container; the model itself is in `model/` beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from model.serving.inference import input_fn, model_fn, output_fn, predict_fn  # noqa: E402

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
'''
# AWS's Ray Serve container starts this: https://aws.github.io/deep-learning-containers/ray/
RAY_SERVE = """applications:
  - name: protloc
    route_prefix: /
    import_path: deployment:app
"""


class ArtifactError(ValueError):
    """A folder or archive is no artifact of this project; the message names the fault."""


@dataclass(frozen=True)
class Artifact:
    """The content of artifact.json; `folder` is where it was read."""

    folder: Path
    version: str
    created: str
    locations: tuple[str, ...]
    head: Mapping[str, Any]
    limits: Mapping[str, int]
    calibration: Mapping[str, Any]  # for `calibration.Calibration`
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    outside: Mapping[str, Any] = field(default_factory=dict)  # for `outside.Detector`; older ones have none
    relatives: Mapping[str, Any] = field(default_factory=dict)  # the same of `relatives.Relatives`
    precision: Mapping[str, Any] = field(
        default_factory=dict
    )  # the result of `precision.py` for a head in bf16; without it a small model answers in fp32
    labels: Sequence[Mapping[str, Any]] = ()  # name, display, go of each location, where they are not the ten

    def __post_init__(self) -> None:
        if not VERSION_PATTERN.fullmatch(self.version):
            raise ArtifactError(
                f"expected a version of at most 40 letters a-z, digits and '-', found {self.version!r}"
            )

    @property
    def max_residues(self) -> int:
        """The longest sequence that is read whole."""
        return self.limits["max_residues"]

    @property
    def max_sequences(self) -> int:
        """The most sequences of one request."""
        return self.limits["max_sequences"]

    @property
    def narrow(self) -> bool:
        """True if the head was judged, and the model calibrated, in bf16, where the processor has it."""
        return self.precision.get("head") == "bf16"

    @property
    def thresholds(self) -> Sequence[float] | None:
        """The threshold of each location, where a protein may have several; None where it has one."""
        return self.calibration.get("thresholds")

    def with_metrics(self, metrics: Mapping[str, Any]) -> Artifact:
        """The same artifact under newly measured figures."""
        return replace(self, metrics=metrics)


def now() -> str:
    """The present moment in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_artifact(folder: Path) -> Artifact:
    """The description of an unpacked artifact; raises ArtifactError where a file or a field is missing."""
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise ArtifactError(f"expected an artifact in {folder}, found no {', '.join(missing)}")
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ArtifactError(
                f"expected artifact format {FORMAT}, found {description['format']!r} in {folder}"
            )
        return Artifact(
            folder=folder,
            version=description["version"],
            created=description["created"],
            locations=tuple(description["locations"]),
            head=description["head"],
            limits=description["limits"],
            calibration=description["calibration"],
            metrics=description["metrics"],
            data=description["data"],
            training=description["training"],
            outside=description.get("outside", {}),
            relatives=description.get("relatives", {}),
            precision=description.get("precision", {}),
            labels=description.get("labels", []),
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ArtifactError(f"expected a whole {DESCRIPTION} in {folder}, found: {error!r}") from error


def write_description(artifact: Artifact) -> None:
    """Write artifact.json into the artifact's folder."""
    values = {key: value for key, value in asdict(artifact).items() if key != "folder"}
    text = json.dumps({"format": FORMAT} | values, indent=1, ensure_ascii=False) + "\n"
    (artifact.folder / DESCRIPTION).write_text(text, encoding="utf-8")


def write_tokenizer(folder: Path, vocabulary: Sequence[str], max_tokens: int) -> None:
    """Write the files from which the encoder's tokenizer in transformers reads the ids of `serving.tokens`.

    T5's reads no such file; its vocabulary is for `serving.tokens` alone.
    """
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    kind = "BertTokenizer" if "[CLS]" in vocabulary else "EsmTokenizer" if "<cls>" in vocabulary else None
    settings = {"tokenizer_class": kind, "do_lower_case": False, "model_max_length": max_tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def serving_code() -> dict[str, bytes]:
    """The files that serve an artifact, by their path in its archive."""
    room = Path(__file__).parent
    code = {f"code/model/serving/{path.name}": path.read_bytes() for path in room.glob("*.py")}
    code["code/model/__init__.py"] = (room.parent / "__init__.py").read_bytes()
    code["code/inference.py"] = ENTRY_POINT.encode()
    code["code/requirements.txt"] = (room / "requirements.txt").read_bytes()
    code["deployment.py"] = code.pop("code/model/serving/deployment.py")
    code["config.yaml"] = RAY_SERVE.encode()
    return code


def write_serving_code(folder: Path) -> None:
    """Write them into an artifact's folder, which SageMaker archives as it stands when training ends."""
    for name, content in serving_code().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def pack(folder: Path, tar_path: Path) -> Path:
    """Write the artifact in `folder` with its serving code as a tar.gz: the same bytes for the same files."""
    read_artifact(folder)
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "code"
    }
    contents |= serving_code()
    with (
        tar_path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(contents):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(contents[name]), 0o644, 0
            archive.addfile(entry, io.BytesIO(contents[name]))
    return tar_path


class _Bounded:
    """The content of an archive, read as long as it is not more than an archive of its size may hold."""

    def __init__(self, content: IO[bytes], packed_bytes: int) -> None:
        self._content = content
        self._most = min(MAX_UNPACKED_BYTES, max(ALWAYS_UNPACKED_BYTES, MAX_RATIO * packed_bytes))

    def read(self, size: int = -1) -> bytes:
        # `tarfile` reads a header whole, of any size that it claims.
        if not 0 <= size <= MAX_READ_BYTES:
            raise ArtifactError(f"expected headers of at most {MAX_READ_BYTES} bytes in the archive")
        self._require(self.tell())
        return self._content.read(size)

    def seek(self, place: int) -> int:
        self._require(place)
        return self._content.seek(place)

    def tell(self) -> int:
        return self._content.tell()

    def _require(self, place: int) -> None:
        if place > self._most:
            raise ArtifactError(
                f"expected an archive that unpacks to at most {MAX_RATIO} times its size, and at most "
                f"{MAX_UNPACKED_BYTES >> 30} GiB; it holds more"
            )


def extracted(archive: Path, folder: Path) -> None:
    """Extract the files of a tar archive, gzipped or not, into `folder`.

    Raises ArtifactError for a link, a device, a way out of the folder, and more than an archive may hold.
    Python's own filter for this came with 3.11.4, and Debian 12 has 3.11.2.
    """
    inside = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with archive.open("rb") as packed:
        squeezed = packed.read(2) == b"\x1f\x8b"
        packed.seek(0)
        content: Any = gzip.GzipFile(fileobj=packed) if squeezed else packed
        bounded: Any = _Bounded(content, archive.stat().st_size)
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for number, member in enumerate(tar):
                place = (inside / member.name).resolve()
                if number >= MAX_MEMBERS:
                    raise ArtifactError(f"expected at most {MAX_MEMBERS} files in the archive, found more")
                if not place.is_relative_to(inside) or not (member.isreg() or member.isdir()):
                    raise ArtifactError(
                        f"expected only files that stay in their folder, found {member.name[:200]!r}"
                    )
                if member.issparse():
                    raise ArtifactError(f"expected only whole files, found the sparse {member.name[:200]!r}")
                if member.isdir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                file = tar.extractfile(member)
                assert file is not None  # it is a file
                with file, place.open("wb") as target:
                    shutil.copyfileobj(file, target)


def unpack(tar_path: Path, folder: Path) -> Artifact:
    """Extract an artifact's archive into `folder`; raises ArtifactError for any other, or one too large."""
    try:
        extracted(tar_path, folder)
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"expected a model.tar.gz at {tar_path}, found: {error}") from error
    return read_artifact(folder)


@contextmanager
def opened(place: Path) -> Iterator[Path]:
    """The folder of an unpacked artifact: `place` itself, or the content of its model.tar.gz, for a while."""
    packed = place / ARCHIVE
    if not packed.is_file():
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        yield unpack(packed, Path(folder)).folder
