"""How many answers a second the grader decides: `python -m benchmarks.grading FILE...`.

Each file is a JSON list of problems with an `answer`. How long answers that are made to hang a grader hold it up is
measured on a file of their own.

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

from benchmarks.adversarial import measure
from benchmarks.circumstances import circumstances
from benchmarks.outcome import arguments, print_table, write_outcome
from benchmarks.processes import in_fresh_process
from rl_core.rewards.boxed import boxed
from rl_core.rewards.grading.grader import Grader
from rl_core.rewards.sample import Sample

NUM_FAST = 100_000
NUM_PLAIN = 300
ADVERSARIAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "answers" / "adversarial.jsonl"
ADVERSARIAL_HELP = "JSON lines with `response`, `gold` and `expected`; left out where there is no such file"


def main() -> None:
    """Measure the hard answers and both mixes, and print seconds and answers per second."""
    parser = arguments("grading", __doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--adversarial", type=Path, default=ADVERSARIAL, metavar="FILE", help=ADVERSARIAL_HELP)
    options = parser.parse_args()
    taken_under = circumstances()
    adversarial = _adversarial(options.adversarial)
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
        "adversarial": adversarial,
    }
    write_outcome(options.json, figures, taken_under)


def _adversarial(file: Path) -> dict[str, object] | None:
    if not file.is_file():
        print(f"adversarial answers: skipped: no file {file}")
        return None
    outcome = in_fresh_process(measure, file)
    print_table("Adversarial answers", outcome.rows())
    figures = outcome.as_json()
    print(", ".join(f"{name} {figures[name]}" for name in ("undecided", "contrary", "children_peak_gb")))
    return figures


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
