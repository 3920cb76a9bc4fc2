"""`python -m rl_core grade`: the verdict on a response, explained; or on a file of them, one line each.

python -m rl_core grade --gold 42 < response.txt
python -m rl_core grade --jsonl responses.jsonl
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rl_core.errors import MistakeError
from rl_core.rewards.answers import final_answer, text_after_thought, unboxed
from rl_core.rewards.grading import pool
from rl_core.rewards.grading.grader import GRADER, Verdict
from rl_core.rewards.normalization import canonical

BATCH = 256  # lines graded together, so that slow ones are decided side by side
WORDS = {True: "correct", False: "wrong", None: "unscored"}


def grade(options: argparse.Namespace) -> None:
    """Grade what the options `gold` or `jsonl` name, and print the verdicts on standard output.

    Ends quietly when whoever reads the verdicts has seen enough of them.

    Raises:
        MistakeError: standard input or the file cannot be read, or a line of it lacks what is needed.
    """
    try:
        if options.jsonl is not None:
            pool.warm_up()
            _grade_file(options.jsonl, sys.stdout)
        else:
            _explain(_response(), options.gold)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end


def _response() -> str:
    if sys.stdin is None:
        raise MistakeError("--gold: standard input is closed; the response is read from it")
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as problem:
        raise MistakeError(f"--gold: standard input, where the response is read, is not UTF-8: {problem}") from None


def _explain(response: str, gold: str) -> None:
    answer = final_answer(response)
    verdict = GRADER.grade(answer, gold)
    if answer is not None:
        extracted = repr(answer)
    elif text_after_thought(response) is None:
        extracted = "nothing: a thought was opened and never closed"
    else:
        extracted = "nothing: no <answer> and no box that closes, with something in it, behind the thought"
    explanation = {
        "verdict": WORDS[verdict.correct],
        "extracted": extracted,
        "read as": canonical(answer) if answer else "-",
        "gold": canonical(unboxed(gold)) or "empty: nothing can be graded against it",
        "path": verdict.path,
        "seconds": f"{verdict.seconds:.6f}",
    }
    for name, value in explanation.items():
        print(f"{name:<11}{_printable(value)}")


def _printable(text: str) -> str:
    """The text in one line, of characters that standard output can take."""
    encoding = sys.stdout.encoding
    return " ".join(text.split()).encode(encoding, "backslashreplace").decode(encoding)


def _grade_file(file: Path, sink: TextIO) -> None:
    rows = _rows(file)
    while batch := list(islice(rows, BATCH)):
        answers = [final_answer(row["response"]) for row in batch]
        verdicts = GRADER.grade_many(list(zip(answers, [row["gold"] for row in batch], strict=True)))
        for answer, verdict in zip(answers, verdicts, strict=True):
            sink.write(json.dumps(_line(answer, verdict)) + "\n")
        sink.flush()


def _line(answer: str | None, verdict: Verdict) -> dict[str, Any]:
    return {"correct": verdict.correct, "extracted": answer, "path": verdict.path, "seconds": round(verdict.seconds, 6)}


def _rows(file: Path) -> Iterator[dict[str, str]]:
    try:
        lines = file.open("rb")
    except OSError as problem:
        raise MistakeError(f"--jsonl {file}: {problem.strerror or problem}") from None
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as problem:  # no UTF-8, no JSON, or nested beyond any sense
                raise MistakeError(f"--jsonl {file}: line {number} is not JSON: {problem}") from None
            if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("response", "gold")):
                raise MistakeError(f"--jsonl {file}: line {number} needs `response` and `gold`, both text")
            yield row
