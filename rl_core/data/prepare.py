"""The stage `prepare`: the run's sources become `data/{train,test,probe}.parquet`.

Where the recipe has `pairs`, its own problems are in `pairs.parquet`, and where it has `sft`, `sft.parquet` holds
problems with the answer that is learned as their `solution`.

Rows that cannot be used are counted in the manifest, by reason, and listed in `set_aside.jsonl`; those whose answer
was repaired likewise, and listed in `repaired.jsonl`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_core.config import SFT
from rl_core.config.data import DatasetConfig
from rl_core.config.pairs import PairsConfig
from rl_core.data.download import address, download_sources, field_of, origins, splits
from rl_core.data.held_out import hold_out
from rl_core.data.parquet import dataset_digest, write_problems
from rl_core.data.raw import RawRow, read_rows
from rl_core.data.rows import (
    IN_PAIRS,
    IN_PROBE,
    IN_TEST,
    Row,
    SetAside,
    count_reasons,
    count_repairs,
    usable_rows,
    without_duplicates,
    without_held_out,
)
from rl_core.data.traces import choose_answers, read_answers
from rl_core.errors import MistakeError
from rl_core.manifest import file_digest, publishing, read_manifest
from rl_core.part_keys import finished_part
from rl_core.progress import Progress
from rl_core.run_dir import RunDir

SET_ASIDE = "set_aside.jsonl"
REPAIRED = "repaired.jsonl"
PROBE_PURPOSE = 10  # keeps the choice of the probe apart from other draws under the same seed


@dataclass(frozen=True, slots=True)
class _Split:
    """What became of one data set."""

    read: int
    kept: list[Row]
    set_aside: list[SetAside]

    def drop(self, kept: list[Row], set_aside: list[SetAside]) -> "_Split":
        return _Split(self.read, kept, self.set_aside + set_aside)


def prepare_data(run: RunDir) -> None:
    """Fill `run.data`, fetching what it is made from where that is still to do.

    Test keeps every usable row; of rows held out of train, one for each problem. Train loses duplicates, problems that
    are also in test, the problems of pairs, and then the probe: rows drawn without replacement under (seed,
    PROBE_PURPOSE), which are measured but never trained on. Answers to problems of test, probe and pairs are not
    learned: a reward model begins with what was learned, and is measured on some of its pairs. `max_rows` counts rows
    as they are read, before any is set aside or held out.

    Raises:
        MistakeError: a source cannot be read or has changed, a column is missing, or nothing usable is left.
    """
    download_sources(run)
    sources = read_manifest(run.sources)
    assert sources is not None, "download_sources returns only when its folder is complete"
    finished = finished_part(run.data, run.keys.data())
    if finished is not None:
        if finished["sources_digest"] != sources["digest"]:
            raise MistakeError(
                f"{run.data} was made from other files than {run.sources} holds now: take another --run-dir, or remove "
                f"{run.data} and whatever was trained on it"
            )
        print(f"prepare: done before: {run.data}")
        return
    with Progress("prepare", 3, "part") as progress:
        train, test, pairs = _convert(run, sources, progress)
        probe, rest = _draw_probe(train.kept, run)
        found, parts = {"train": train, "test": test}, {"train": rest, "test": test.kept, "probe": probe}
        if pairs is not None:
            parts["pairs"] = pairs
        if run.config.sft is not None:
            held_out = {IN_TEST: test.kept, IN_PROBE: probe, IN_PAIRS: parts.get("pairs", [])}
            found[SFT] = _answers(run, sources, held_out)
            parts[SFT] = found[SFT].kept
        progress.update(2, note="writing parquet")
        _publish(run, sources, found, parts)
        progress.update(3)
    for split, result in found.items():
        print(f"prepare: {split}: {result.read} rows read, set aside: {_counts(result.set_aside)}")
        print(f"prepare: {split}: answers repaired: {_in_words(count_repairs(result.kept))}")
    print(f"prepare: {', '.join(f'{len(rows)} in {split}' for split, rows in parts.items())}: {run.data}")


def _convert(run: RunDir, sources: dict[str, Any], progress: Progress) -> tuple[_Split, _Split, list[Row] | None]:
    """What is trained on, what is tested on, and the problems of pairs where the recipe has any."""
    data = run.config.data
    raw = {}
    for done, (split, dataset) in enumerate(splits(data).items()):
        if dataset.source != "held_out":
            progress.update(done, note=f"reading {address(dataset)}")
            raw[split] = _raw_rows(run, split, dataset, sources["sources"][split]["files"])[: dataset.max_rows]
    pairs = run.config.pairs
    of_pairs = None if pairs is None else _rows_of_pairs(raw["train"], pairs)
    if data.test.source == "held_out":
        raw["train"], raw["test"] = hold_out(raw["train"], data.test.fraction, data.test.seed)
    train, test = (
        _Split(len(raw[split]), *usable_rows(raw[split], dataset, data.prompt_template))
        for split, dataset in origins(data).items()
    )
    train = train.drop(*without_duplicates(train.kept))
    if data.test.source == "held_out":  # as rows of train: a problem that is there twice would count twice
        test = test.drop(*without_duplicates(test.kept))
    train = train.drop(*without_held_out(train.kept, test.kept))
    for split, result in (("train", train), ("test", test)):
        if not result.kept:
            raise MistakeError(
                f"data.{split}: none of the {result.read} rows read can be used ({_counts(result.set_aside)}): check "
                f"data.{split}.problem_column and data.{split}.answer_column, or take another data set"
            )
    if of_pairs is None:
        return train, test, None
    chosen, rest = _divided(train.kept, of_pairs)
    return _Split(train.read, rest, train.set_aside), test, chosen


def _divided(train: list[Row], of_pairs: set[tuple[str, int]]) -> tuple[list[Row], list[Row]]:
    """The problems that pairs are made of, and the others."""
    chosen = [row for row in train if (row.raw.file, row.raw.row) in of_pairs]
    if not chosen or len(chosen) == len(train):
        raise MistakeError(
            f"pairs: its rows are {len(chosen)} of the {len(train)} training problems that can be used: some must be "
            "left on either side: change pairs.first_row or pairs.num_rows"
        )
    return chosen, [row for row in train if (row.raw.file, row.raw.row) not in of_pairs]


def _rows_of_pairs(raw: Sequence[RawRow], pairs: PairsConfig) -> set[tuple[str, int]]:
    """File and row of those that pairs are made of."""
    chosen = raw[pairs.first_row : pairs.first_row + pairs.num_rows]
    if not chosen:
        raise MistakeError(f"pairs.first_row is {pairs.first_row}, but data.train has {len(raw)} rows")
    return {(row.file, row.row) for row in chosen}


def _answers(run: RunDir, sources: dict[str, Any], held_out: dict[str, list[Row]]) -> _Split:
    """Problems with the answer that is learned of each, but for those held out, which are there by the reason."""
    sft, template = run.config.sft, run.config.data.prompt_template
    assert sft is not None, "asked only where the recipe has it"
    if sft.data.source == "embedded":
        from rl_core.embedded.traces import make_traces

        assert run.config.embedded is not None, "the schema asks for it when a source is embedded"
        rows = make_traces(run.config.embedded, run.config.seed)
        raw = [_embedded_row(number, row) for number, row in enumerate(rows)]
        result = _Split(*choose_answers(raw, sft.data, template))
    else:
        files = sources["sources"][SFT]["files"]
        result = _Split(*read_answers([_whole(run, SFT, file) for file in files], sft.data, template))
    result = result.drop(*without_duplicates(result.kept))
    for reason, rows_of_reason in held_out.items():
        result = result.drop(*without_held_out(result.kept, rows_of_reason, reason))
    if not result.kept:
        raise MistakeError(
            f"sft.data: none of the {result.read} rows read can be used ({_counts(result.set_aside)}): check its "
            "columns, or take another data set"
        )
    return result


def _embedded_row(number: int, row: dict[str, Any]) -> RawRow:
    return RawRow("embedded", number, dict(row))


def _raw_rows(run: RunDir, split: str, dataset: DatasetConfig, files: Sequence[dict[str, Any]]) -> list[RawRow]:
    if dataset.source == "embedded":
        from rl_core.embedded.task import make_problems

        assert run.config.embedded is not None, "the schema asks for it when a source is embedded"
        rows = make_problems(run.config.embedded, run.config.seed)[split]
        return [_embedded_row(number, row) for number, row in enumerate(rows)]
    raw = []
    for file in files:
        raw += read_rows(_whole(run, split, file), field_of(split), dataset)
    return raw


def _whole(run: RunDir, split: str, file: dict[str, Any]) -> Path:
    """A fetched file, which is still what was fetched."""
    path = run.sources / split / str(file["name"])
    if file_digest(path) != file["digest"]:
        raise MistakeError(f"{path} was changed after it was fetched: remove {run.sources} to fetch it again")
    return path


def _draw_probe(train: list[Row], run: RunDir) -> tuple[list[Row], list[Row]]:
    """The probe, and the training rows without it; both in the order of the source."""
    count = run.config.data.probe_problems
    if count >= len(train):
        raise MistakeError(
            f"data.probe_problems is {count}, but only {len(train)} training problems can be used, of which at least "
            f"one must be left to train on: at most {len(train) - 1}"
        )
    random = np.random.default_rng([run.config.seed, PROBE_PURPOSE])
    chosen = set(random.choice(len(train), count, replace=False).tolist())
    probe = [row for index, row in enumerate(train) if index in chosen]
    return probe, [row for index, row in enumerate(train) if index not in chosen]


def _publish(run: RunDir, sources: dict[str, Any], found: dict[str, _Split], parts: dict[str, list[Row]]) -> None:
    data = run.config.data
    data_sources = {split: address(dataset) for split, dataset in origins(data).items()}
    data_sources |= {"probe": data_sources["train"], "pairs": data_sources["train"]}
    data_sources |= {SFT: address(run.config.sft.data)} if run.config.sft else {}
    digests: dict[str, str] = {}
    facts = {
        "sources": sources["sources"],
        "sources_digest": sources["digest"],
        "rows_read": {split: result.read for split, result in found.items()},
        "rows": {split: len(rows) for split, rows in parts.items()},
        "set_aside": {split: count_reasons(result.set_aside) for split, result in found.items()},
        "repaired": {split: count_repairs(result.kept) for split, result in found.items()},
        "template_text_removed": {split: _shortened(result.kept, split, run) for split, result in found.items()},
        "dataset_digests": digests,
    }
    with publishing(run.data, key=run.keys.data(), **facts) as partial:
        for split, rows in parts.items():
            file = partial / f"{split}.parquet"
            write_problems(file, rows, split=split, data_source=data_sources[split], data=data)
            digests[split] = dataset_digest(file)
        _list_set_aside(partial / SET_ASIDE, found)
        _list_repaired(partial / REPAIRED, found)


def _shortened(rows: Sequence[Row], split: str, run: RunDir) -> int:
    """Rows whose problem carried the template's own text."""
    sft = run.config.sft
    column = sft.data.problem_column if split == SFT and sft else origins(run.config.data)[split].problem_column
    return sum(row.problem != row.raw.values[column] for row in rows)


def _list_set_aside(file: Path, found: dict[str, _Split]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for split, result in found.items():
            for row in sorted(result.set_aside, key=lambda row: (row.raw.file, row.raw.row)):
                entry: dict[str, Any] = {"reason": row.reason}
                if row.same_as:
                    entry["same_as"] = {"file": row.same_as.file, "row": row.same_as.row}
                lines.write(_line(split, row.raw, entry))


def _list_repaired(file: Path, found: dict[str, _Split]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for split, result in found.items():
            for row in result.kept:
                if row.repair:
                    lines.write(_line(split, row.raw, {"repair": row.repair, "answer": row.answer}))


def _line(split: str, raw: RawRow, entry: dict[str, Any]) -> str:
    whole = {"split": split, "file": raw.file, "row": raw.row, **entry, "values": raw.values}
    return json.dumps(whole, ensure_ascii=False, default=str) + "\n"


def _counts(set_aside: Sequence[SetAside]) -> str:
    return _in_words(count_reasons(set_aside))


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
