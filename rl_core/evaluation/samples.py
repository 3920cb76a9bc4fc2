"""Samples of an evaluation on disk as they come, so that one that was killed goes on with what is missing.

    <benchmark>-<protocol digest>.<dataset digest>.samples/000007-0.parquet    some samples of rank 0

A file is wholly there or not at all. The folder goes when the evaluation is written, which holds the same samples.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rl_core.manifest import read_json
from rl_core.types import Completion

FLUSH_SECONDS = 10.0  # between two files: what is lost at most of the samples that have ended
# Settings of a protocol that do not decide what is sampled.
NOT_OF_SAMPLING = frozenset(("num_samples", "verifier", "second_verifier"))
COLUMNS = ["index", "sample", "token_ids", "truncated", "sampler"]
SCHEMA = pa.schema(
    [
        ("index", pa.int32()),
        ("sample", pa.int32()),
        ("token_ids", pa.list_(pa.int32())),
        ("truncated", pa.bool_()),
        ("sampler", pa.string()),
    ]
)

Place = tuple[int, int]  # a problem's index, and the number of the sample


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One sampled response, and by what it was sampled."""

    token_ids: list[int]
    truncated: bool
    sampler: str  # engine and version

    def completion(self) -> Completion:
        """As an engine gave it; log-probabilities are not kept."""
        return Completion(self.token_ids, [], "length" if self.truncated else "stop", 0)


class SampleStore:
    """The samples of one evaluation, as one rank adds to them."""

    def __init__(self, folder: Path, *, sampler: str, rank: int) -> None:
        self._folder, self._sampler, self._rank = folder, sampler, rank
        folder.mkdir(parents=True, exist_ok=True)
        self._next = 1 + max((int(file.name[:6]) for file in folder.glob("*.parquet")), default=-1)
        self._waiting: list[dict[str, Any]] = []
        self._flushed = time.monotonic()

    def read(self) -> dict[Place, StoredSample]:
        """Everything that is on disk, of every rank."""
        found: dict[Place, StoredSample] = {}
        for file in sorted(self._folder.glob("*.parquet")):
            found |= read_samples(file)
        return found

    def add(self, place: Place, completion: Completion) -> None:
        """Take a sample, and write those that wait where the last writing was long enough ago."""
        index, sample = place
        truncated = completion.finish_reason == "length"
        self._waiting.append(
            dict(zip(COLUMNS, (index, sample, completion.token_ids, truncated, self._sampler), strict=True))
        )
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the samples that wait."""
        if self._waiting:
            file = self._folder / f"{self._next:06d}-{self._rank}.parquet"
            temporary = file.with_name(file.name + ".partial")
            pq.write_table(pa.Table.from_pylist(self._waiting, schema=SCHEMA), temporary)
            temporary.replace(file)
            self._waiting, self._next = [], self._next + 1
        self._flushed = time.monotonic()

    def remove(self) -> None:
        """Remove the folder: an evaluation holds its samples."""
        shutil.rmtree(self._folder)


def read_samples(file: Path) -> dict[Place, StoredSample]:
    """The samples in a file of a store, or of an evaluation; none where it was written without tokens."""
    if "token_ids" not in pq.read_schema(file).names:
        return {}
    rows = pq.read_table(file, columns=COLUMNS).to_pylist()
    return {
        (row["index"], row["sample"]): StoredSample(row["token_ids"], row["truncated"], row["sampler"]) for row in rows
    }


def samples_of_others(
    result: Path, benchmark: str, dataset_digest: str, protocol: Mapping[str, Any]
) -> dict[Place, StoredSample]:
    """What other evaluations of the same model sampled in the same way: with fewer samples, or another verifier.

    A sample's seed is of its problem and number alone, so that it is the sample which this evaluation would draw.
    """
    found: dict[Place, StoredSample] = {}
    for file in sorted(result.parent.glob(f"{benchmark}-*.json")):
        other, samples = read_json(file), file.with_suffix(".parquet")
        if file == result or not isinstance(other, dict) or not samples.is_file():
            continue
        same_way = _of_sampling(other.get("protocol", {})) == _of_sampling(protocol)
        if same_way and other.get("dataset_digest") == dataset_digest:
            found |= read_samples(samples)
    return found


def _of_sampling(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in protocol.items() if name not in NOT_OF_SAMPLING}
