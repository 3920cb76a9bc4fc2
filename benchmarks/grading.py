"""How many answers a second the grader decides: `python -m benchmarks.grading FILE...`.

Each file is a JSON list of problems with an `answer`.

Two mixes, neither of which repeats a pair, so that nothing is remembered:
- fast path: whole numbers in boxes behind 1,000 characters, by the boxed reward;
- realistic: each gold answer in another typesetting, and against another problem's answer, by the grader; and by
  math-verify called plainly, on a sample and in the same run.
"""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.outcome import arguments, print_table, write_outcome
from rl_core.rewards.boxed import boxed
from rl_core.rewards.grading.grader import Grader
from rl_core.rewards.sample import Sample

NUM_FAST = 100_000
NUM_PLAIN = 300


def main() -> None:
    """Measure both mixes and print answers per second."""
    parser = arguments("grading", __doc__)
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    taken_under = circumstances()
    golds = _golds(options.files)
    thought = "so " * 333
    samples = [Sample(f"{thought}\\boxed{{{number}}}", str(number), False) for number in range(NUM_FAST)]
    fast = _rate(NUM_FAST, lambda: boxed(samples))
    pairs = _pairs(golds)
    ours = _rate(len(pairs), lambda: Grader().grade_many(pairs))
    plain = random.Random(1).sample(pairs, min(NUM_PLAIN, len(pairs)))
    theirs = _rate(len(plain), lambda: _math_verify(plain))
    named = {
        "fast path, boxed": fast,
        "realistic, grader": ours,
        "realistic, math-verify called plainly": theirs,
        "ratio of the last two": ours / theirs,
    }
    print_table("Grading", [{"what": name, "answers a second": value} for name, value in named.items()])
    figures = {
        "fast_path_per_second": round(fast),
        "realistic_per_second": round(ours),
        "math_verify_called_plainly_per_second": round(theirs),
        "ratio": round(ours / theirs, 1),
        "pairs": len(pairs),
        "files": [file.name for file in options.files],
    }
    write_outcome(options.json, figures, taken_under)


def _golds(files: list[Path]) -> list[str]:
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
    return [str(row["answer"]).strip() for row in rows]


def _pairs(golds: list[str]) -> list[tuple[str, str]]:
    """(answer, gold), each pair once: the same in other spacing and brackets, and another problem's."""
    others = golds[:]
    random.Random(0).shuffle(others)
    same = [(gold.replace("+", " + ").replace(r"\frac", r"\dfrac").replace("(", r"\left("), gold) for gold in golds]
    return list(dict.fromkeys(same + list(zip(others, golds, strict=True))))


def _math_verify(pairs: list[tuple[str, str]]) -> None:
    from math_verify import parse, verify  # type: ignore[import-untyped]

    for answer, gold in pairs:
        verify(parse(f"\\boxed{{{gold}}}"), parse(f"\\boxed{{{answer}}}"))


def _rate(count: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
