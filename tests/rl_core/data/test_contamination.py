from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_core.config import SFT
from rl_core.data.contamination import count_trained, trained_problems


def write(file: Path, problems: list[str]) -> Path:
    pq.write_table(pa.table({"problem": problems}), file)
    return file


@pytest.mark.parametrize("learned_from", ["train", "pairs", SFT])
def test_every_file_that_something_is_learned_from_counts(tmp_path: Path, learned_from: str) -> None:
    asked = write(tmp_path / "asked.parquet", ["Find $x + 1$.", "find x+1.", "Find y."])
    write(tmp_path / "train.parquet", ["Another"])
    write(tmp_path / f"{learned_from}.parquet", ["FIND x + 1."])
    assert count_trained(trained_problems(tmp_path), asked) == 2


def test_what_only_measures_does_not(tmp_path: Path) -> None:
    asked = write(tmp_path / "asked.parquet", ["Find y."])
    write(tmp_path / "train.parquet", ["Another"])
    write(tmp_path / "probe.parquet", ["Find y."])
    assert count_trained(trained_problems(tmp_path), asked) == 0
