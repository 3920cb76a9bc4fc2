"""Benchmarks by name: which rows of which published data set, at which commit. Plain values; imports nothing heavy.

A commit is named where others have published theirs; of the rest, the one that `main` stands for is recorded with the
results. `rl_core.evaluation.problems` fetches them.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

OF_THE_RUN = ("test", "train", "probe")  # parquet files that `prepare` writes
SUFFIXES = (".json", ".jsonl", ".parquet")
OWN_COPY = ("benchmarks", "problems.parquet")  # a run's, of a benchmark that it was asked: benchmarks/<name>/...


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Where a benchmark's problems are on a hub, and which of them are asked."""

    repo_id: str
    files: tuple[str, ...]  # `*` in the last part stands for every file of that form, in the order of their names
    revision: str = "main"
    problem_column: str = "problem"
    answer_column: str = "answer"
    rows: tuple[int, int] | None = None  # the first that is asked, and the first that is not; None: all
    held_out: tuple[float, int] | None = None  # share and seed, as train_test_split of the package datasets draws them


BENCHMARKS: dict[str, Benchmark] = {
    "aime24": Benchmark(  # AIME I and II of 2024: 30 problems
        "HuggingFaceH4/aime_2024",
        ("data/train-00000-of-00001.parquet",),
        "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
    ),
    "aime25": Benchmark(  # AIME I and II of 2025: 30 problems
        "opencompass/AIME2025",
        ("aime2025-I.jsonl", "aime2025-II.jsonl"),
        "a6ad95f611d72cf628a80b58bd0432ef6638f958",
        problem_column="question",
    ),
    "math500": Benchmark(  # 500 problems of the test set of MATH (Lightman et al. 2023, arXiv 2305.20050)
        "HuggingFaceH4/MATH-500", ("test.jsonl",), "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"
    ),
    "amc": Benchmark(  # AMC 12 of 2022 and 2023, as integers: 83 problems
        "AI-MO/aimo-validation-amc",
        ("data/train-00000-of-00001.parquet",),
        "69d78a4a2c840e82d69af6bc742bda09005f6316",
    ),
    "minerva": Benchmark(  # OCWCourses of Lewkowycz et al. 2022, arXiv 2206.14858: 272 problems
        "math-ai/minervamath", ("test.jsonl",), problem_column="question"
    ),
    "olympiad": Benchmark(  # OlympiadBench, open-ended, text only, English (He et al. 2024, arXiv 2402.14008): 674
        "Hothan/OlympiadBench",
        ("OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet",),
        "91184b52131e7fc9455fef848035173aea8cc01a",
        problem_column="question",
        answer_column="final_answer",
    ),
    # The 100 problems of DestyWang/SFT-and-RL-on-Qwen2.5-Math-7B (eval.py at 1f4637c): held out of its own training,
    # not of one on the whole data set.
    "deepscaler-heldout": Benchmark(
        "agentica-org/DeepScaleR-Preview-Dataset",
        ("deepscaler.json",),
        "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
        rows=(30000, 30100),
    ),
    # The same source: a thousandth of the split `extended`, by train_test_split under seed 42.
    "openr1-math": Benchmark(
        "open-r1/OpenR1-Math-220k",
        ("extended/train-*.parquet",),
        "e4e141ec9dea9f8326f4d347be56105859b2bd68",
        held_out=(0.001, 42),
    ),
}


def is_file(benchmark: str) -> bool:
    """Whether a benchmark is written as a file's path."""
    return benchmark.lower().endswith(SUFFIXES) or "/" in benchmark


def benchmark_name(benchmark: str) -> str:
    """What results of a benchmark are filed under: its name, or of a file its own without suffix.

    A run's own copy is still the benchmark that it was taken from.
    """
    if not is_file(benchmark):
        return benchmark
    path = PurePath(benchmark)
    is_own_copy = (path.parent.parent.name, path.name) == OWN_COPY
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name if is_own_copy else path.stem)


def check_benchmark(benchmark: str, field: str) -> None:
    """Raise ValueError where a benchmark is neither one by name nor a file of a kind that can be read."""
    if is_file(benchmark):
        if not benchmark.lower().endswith(SUFFIXES):
            raise ValueError(f"{field}: {benchmark!r} is no file that can be read (can be: {', '.join(SUFFIXES)})")
    elif benchmark not in BENCHMARKS and benchmark not in OF_THE_RUN:
        known = ", ".join([*BENCHMARKS, *OF_THE_RUN])
        raise ValueError(f"{field}: {benchmark!r} is not known: {known} are; or give a file ({', '.join(SUFFIXES)})")
