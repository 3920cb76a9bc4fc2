"""From rows with several traces to the one answer of each that is learned. Called by `prepare`; pure but for reading.

A row keeps what it is asked and the chosen answer, as its solution: the rest, gigabytes of other traces, is read past.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl_core.config.sft import TracesConfig
from rl_core.data.prompt import without_template_text
from rl_core.data.raw import RawRow, stream_rows
from rl_core.data.rows import NO_ANSWER, NO_PROBLEM, Row, SetAside
from rl_core.rewards.answers import THOUGHT_CLOSES

NO_TRACE = "no verified trace"
NO_SOLUTION = "no solution"
BOX = "\\boxed{"
CONCLUSION = "\n\nTherefore, the final answer is \\boxed{{{answer}}}."
FIELD = "sft.data"


def read_answers(files: Iterable[Path], traces: TracesConfig, template: str) -> tuple[int, list[Row], list[SetAside]]:
    """How many rows were read, those with an answer to learn as their `solution`, and the others.

    Raises:
        MistakeError: a file cannot be read, or lacks a column.
    """
    raw = (row for file in files for row in stream_rows(file, FIELD, traces.columns))
    return choose_answers(raw, traces, template)


def choose_answers(
    rows: Iterable[RawRow], traces: TracesConfig, template: str
) -> tuple[int, list[Row], list[SetAside]]:
    """As `read_answers`, of rows that are there."""
    kept: list[Row] = []
    set_aside: list[SetAside] = []
    read = 0
    for raw in rows:
        if read == traces.max_rows:
            break
        read += 1
        found = _answer(raw, traces, template)
        if isinstance(found, Row):
            kept.append(found)
        else:
            set_aside.append(SetAside(_brief(raw, traces), found))
    return read, kept, set_aside


def verified_traces(values: dict[str, Any], traces: TracesConfig) -> list[str]:
    """The traces of a row that a column calls verified and, where a column says so, that ended by themselves."""
    return [
        text
        for index, text in enumerate(values.get(traces.traces_column) or [])
        if any(_says(values, column, index) for column in traces.verified_columns)
        and (traces.complete_column is None or _says(values, traces.complete_column, index))
        and isinstance(text, str)
        and text.strip()
    ]


def behind_thought(trace: str) -> str | None:
    """What a trace says when it has thought; None where it does not end its thought, or says nothing then."""
    _, closes, said = trace.rpartition(THOUGHT_CLOSES)
    return (said.strip() or None) if closes else None


def with_box(solution: str, answer: str) -> str:
    """A solution that ends with its answer in a box, where it has none.

    Source: sft.py of DestyWang/SFT-and-RL-on-Qwen2.5-Math-7B, which adds the same sentence.
    """
    return solution if BOX in solution else solution.rstrip() + CONCLUSION.format(answer=answer)


def _answer(raw: RawRow, traces: TracesConfig, template: str) -> Row | str:
    """The row with what is learned of it, or why nothing is."""
    problem, answer = raw.values.get(traces.problem_column), raw.values.get(traces.answer_column)
    bare = without_template_text(problem, template) if isinstance(problem, str) else ""
    if not bare.strip():
        return NO_PROBLEM
    if not isinstance(answer, str | int | float) or not str(answer).strip():
        return NO_ANSWER
    learned = _learned(raw.values, str(answer).strip(), traces)
    if learned is None:
        return NO_SOLUTION if traces.response == "solution" else NO_TRACE
    return Row(bare, str(answer).strip(), learned, _brief(raw, traces))


def _learned(values: dict[str, Any], answer: str, traces: TracesConfig) -> str | None:
    if traces.response == "solution":
        solution = values.get(traces.solution_column)
        return with_box(solution, answer) if isinstance(solution, str) and solution.strip() else None
    found: Sequence[str | None] = verified_traces(values, traces)
    if traces.response == "trace_answer":
        found = [behind_thought(trace) for trace in verified_traces(values, traces)]
    return min((text for text in found if text), key=len, default=None)


def _says(values: dict[str, Any], column: str, index: int) -> bool:
    """Whether a list beside the traces says true of one of them; an absent list says nothing."""
    said = values.get(column)
    return isinstance(said, list) and index < len(said) and said[index] is True


def _brief(raw: RawRow, traces: TracesConfig) -> RawRow:
    return replace(raw, values={traces.problem_column: raw.values.get(traces.problem_column)})
