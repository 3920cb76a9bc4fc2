"""The stage `download`: everything that a run's data is made from, in its folder `sources/`, with where it came from.

    sources/train/<file>  sources/test/<file>    as they were found; sources/sft/<file> where the recipe has `sft`
    sources/manifest.json                        `sources`: for each split its repository, commit and file digests

A data set that the project makes itself, or draws out of another, has nothing to fetch.
"""

from pathlib import Path
from typing import Any

from rl_core.config import SFT, RecipeConfig
from rl_core.config.data import DataConfig, DatasetConfig
from rl_core.config.sft import TracesConfig
from rl_core.data.local import check_unchanged, copy_local
from rl_core.data.raw import check_suffix
from rl_core.manifest import publishing
from rl_core.part_keys import finished_part
from rl_core.progress import Progress
from rl_core.run_dir import RunDir


def download_sources(run: RunDir) -> None:
    """Fill `run.sources`. Complete, it is not fetched again: the hub is not asked, local files are only compared.

    Raises:
        MistakeError: a data set does not exist, may not be read, or has changed since it was copied.
        ConnectionError: the hub did not answer; running the stage again may help.
    """
    datasets = fetched(run.config)
    finished = finished_part(run.sources, run.keys.sources())
    if finished is not None:
        for split, origin in finished["sources"].items():
            if origin["source"] == "path":
                check_unchanged(origin, field_of(split), run.sources / split)
        print(f"download: done before: {run.sources}")
        return
    found: dict[str, Any] = {}
    with (
        publishing(run.sources, key=run.keys.sources(), sources=found) as partial,
        Progress("download", len(datasets), "data set") as progress,
    ):
        for done, (split, dataset) in enumerate(datasets.items()):
            progress.update(done, note=f"{field_of(split)}: {address(dataset)}")
            found[split] = _fetch(dataset, field_of(split), partial / split)
        progress.update(len(datasets))


def fetched(config: RecipeConfig) -> dict[str, DatasetConfig | TracesConfig]:
    """Everything that is fetched, by its folder in `sources`."""
    return {**splits(config.data), **({SFT: config.sft.data} if config.sft else {})}


def field_of(split: str) -> str:
    """Where the recipe says what is fetched into a folder of `sources`."""
    return "sft.data" if split == SFT else f"data.{split}"


def splits(data: DataConfig) -> dict[str, DatasetConfig]:
    """The data sets of a recipe by the split they become."""
    return {"train": data.train, "test": data.test}


def origins(data: DataConfig) -> dict[str, DatasetConfig]:
    """The data set that the rows of each split are read from: for a held-out test that of train."""
    return {split: data.train if dataset.source == "held_out" else dataset for split, dataset in splits(data).items()}


def address(dataset: DatasetConfig | TracesConfig) -> str:
    """Where a data set is, in one word; the `data_source` of its rows."""
    if dataset.source == "path":
        return Path(dataset.path or "").stem
    return dataset.repo_id or dataset.source


def _fetch(dataset: DatasetConfig | TracesConfig, field: str, into: Path) -> dict[str, Any]:
    if dataset.source == "path":
        return copy_local(dataset.path or "", field, into)
    if dataset.source == "hub":
        for setting, name in dataset.hub_files.items():
            check_suffix(f"{field}.{setting}", name)
        from rl_core.data.hub import fetch_from_hub  # reads HF_ENDPOINT, and is not needed without a hub

        return fetch_from_hub(dataset, field, into)
    if isinstance(dataset, DatasetConfig) and dataset.source == "held_out":
        return {"source": dataset.source, "fraction": dataset.fraction, "seed": dataset.seed, "files": []}
    return {"source": dataset.source, "files": []}
