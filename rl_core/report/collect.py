"""Reads a run directory into `facts`. What is not there, or belongs to another recipe, is named and left out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rl_core.config import SFT
from rl_core.hardware import Hardware
from rl_core.manifest import read_json, read_manifest
from rl_core.plan import DONE, OTHER_RECIPE, TO_DO, Part, all_parts
from rl_core.report.facts import Evaluation, FineTuning, Interval, ProblemRow, RunFacts, Sample, StageFacts, Work
from rl_core.run_dir import RunDir
from rl_core.tracking import run_url
from rl_core.work import read_work

OWN = ("report", "publish")  # parts that come of the report, or after it
NUMBERS = ("index", "sample", "response_tokens", "reward", "truncated", "extracted")


def collect(run: RunDir) -> RunFacts:
    """What the run's files say so far."""
    parts = {part.name: part for part in all_parts(run)}
    missing = [_absence(part) for part in parts.values() if part.state != DONE and part.name not in OWN]
    stages: list[StageFacts] = []
    for index in range(len(run.config.stages)):
        first_step = stages[-1].first_step + stages[-1].steps_done if stages else 0
        stages.append(_stage(run, index, first_step, parts, missing))
    base = parts["evaluate base"]
    return RunFacts(
        root=run.root,
        config=run.config,
        sources=_manifest(parts["download"]),
        data=_manifest(parts["data"]),
        base=_manifest(parts["base model"]),
        base_evaluation=_evaluation(base, missing),
        base_further=_further(base, missing),
        stages=tuple(stages),
        fine_tuning=_fine_tuning(run, parts, missing),
        missing=tuple(missing),
        reward_model=_reward_model(run, parts),
        work=tuple(_work(record) for record in read_work(run.work)),
        links=_links(run),
    )


def read_samples(evaluation: Evaluation) -> list[Sample]:
    """Every response of an evaluation with its text; empty where the parquet is not there."""
    return _samples(evaluation.file.with_suffix(".parquet"), [*NUMBERS, "response"]) or []


def _absence(part: Part) -> str:
    if part.state == OTHER_RECIPE:
        return f"{part.name}: made by another recipe, so left out here"
    return f"{part.name}: not done" if part.state == TO_DO else f"{part.name}: {part.status}"


def _manifest(part: Part) -> Mapping[str, Any] | None:
    return read_manifest(part.path) if part.state == DONE else None


def _stage(run: RunDir, index: int, first_step: int, parts: Mapping[str, Part], missing: list[str]) -> StageFacts:
    stage, files = run.config.stages[index], run.stage(index)
    ours = parts[f"train {stage.name}"].state != OTHER_RECIPE
    summary = read_json(files.summary) if ours else None
    return StageFacts(
        index=index,
        name=stage.name,
        planned_steps=stage.steps,
        limit_tokens=stage.max_response_tokens,
        first_step=first_step,
        metrics=_metrics(files.metrics, missing) if ours else (),
        summary=summary if isinstance(summary, dict) else None,
        model=_manifest(parts[f"convert {stage.name}"]),
        evaluation=_evaluation(parts[f"evaluate {stage.name}"], missing),
        further=_further(parts[f"evaluate {stage.name}"], missing),
    )


def _reward_model(run: RunDir, parts: Mapping[str, Part]) -> Mapping[str, Any] | None:
    """The summary of the training of the run's own reward model, once it is measured; it may have been refused."""
    if run.config.reward_model is None or parts["reward model"].state == OTHER_RECIPE:
        return None
    summary = read_json(run.reward_model_training.summary)
    return summary if isinstance(summary, dict) and summary.get("status") == "complete" else None


def _fine_tuning(run: RunDir, parts: Mapping[str, Part], missing: list[str]) -> FineTuning | None:
    if run.config.sft is None:
        return None
    files, ours = run.stage(SFT), parts[f"train {SFT}"].state != OTHER_RECIPE
    summary = read_json(files.summary) if ours else None
    return FineTuning(
        metrics=_metrics(files.metrics, missing) if ours else (),
        summary=summary if isinstance(summary, dict) else None,
        model=_manifest(parts[f"convert {SFT}"]),
        evaluation=_evaluation(parts[f"evaluate {SFT}"], missing),
        further=_further(parts[f"evaluate {SFT}"], missing),
    )


def _metrics(file: Path, missing: list[str]) -> tuple[Mapping[str, Any], ...]:
    """The lines by step; of two lines of one step, which an interrupted run can leave, the later."""
    by_step: dict[int, dict[str, Any]] = {}
    unreadable = 0
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            values = json.loads(line)
            by_step[int(values["step"])] = values
        except (ValueError, KeyError, TypeError):  # cut off while it was written
            unreadable += 1
    if unreadable:
        missing.append(f"{file.parent.name}/{file.name}: {unreadable} unreadable line(s), left out")
    return tuple(by_step[step] for step in sorted(by_step))


def _evaluation(part: Part, missing: list[str]) -> Evaluation | None:
    if part.state != DONE:
        return None
    evaluation = _read_evaluation(part.name, part.path, missing)
    if evaluation is None:
        return None
    if evaluation.samples is None:
        missing.append(f"{part.name}: the responses ({part.path.with_suffix('.parquet').name}) are not there")
    return evaluation


def _further(part: Part, missing: list[str]) -> tuple[Evaluation, ...]:
    """What else the same model was asked: every other evaluation beside the recipe's own, by name of its file."""
    if part.state != DONE:
        return ()
    files = sorted(file for file in part.path.parent.glob("*.json") if file != part.path)
    read = [_read_evaluation(f"{part.name}, {file.stem}", file, missing) for file in files]
    return tuple(evaluation for evaluation in read if evaluation is not None)


def _read_evaluation(name: str, file: Path, missing: list[str]) -> Evaluation | None:
    try:
        return _parse_evaluation(file, read_json(file))
    except (KeyError, TypeError, ValueError) as error:
        missing.append(f"{name}: its results cannot be read ({type(error).__name__}: {error}), so left out here")
        return None


def _links(run: RunDir) -> tuple[tuple[str, str], ...]:
    published = (read_json(run.published) or {}).get("url")
    found = (("Weights & Biases", run_url(run)), ("published as", published))
    return tuple((what, address) for what, address in found if address)


def _work(record: Mapping[str, Any]) -> Work:
    return Work(
        part=str(record["part"]),
        started_at=str(record["started_at"]),
        seconds=float(record["seconds"]),
        status=str(record["status"]),
        hardware=Hardware(**record["hardware"]),
    )


def _parse_evaluation(file: Path, results: Mapping[str, Any]) -> Evaluation:
    samples = _samples(file.with_suffix(".parquet"), list(NUMBERS))
    return Evaluation(
        file=file,
        model_digest=str(results.get("model_digest", file.parent.name)),
        benchmark=str(results.get("benchmark", file.stem.rpartition("-")[0])),
        dataset_digest=str(results.get("dataset_digest", "")),
        protocol=results.get("protocol", {}),
        num_problems=int(results.get("num_problems", len(results.get("problems", ())))),
        pass_at_1=_interval(results["pass_at_1"]),
        pass_at_k=_by_k(results, "pass_at_k"),
        majority_at_k=_by_k(results, "majority_at_k"),
        agreement_at_k=_by_k(results, "agreement_at_k"),
        response_tokens_mean=float(results["response_tokens_mean"]),
        truncated_fraction=float(results["truncated_fraction"]),
        no_answer_fraction=float(results["no_answer_fraction"]),
        unscored_count=int(results["unscored_count"]),
        problems=tuple(_problem(row) for row in results.get("problems", ())),
        samples=None if samples is None else tuple(samples),
        num_trained=(results.get("dataset") or {}).get("also_trained_on"),
    )


def _interval(value: Mapping[str, float | None]) -> Interval:
    if value["value"] is None:
        raise ValueError("no response was scored")
    return Interval(float(value["value"]), value.get("low"), value.get("high"))


def _by_k(results: Mapping[str, Any], name: str) -> dict[int, Interval]:
    values = {int(k): value for k, value in results.get(name, {}).items() if value["value"] is not None}
    return {k: _interval(values[k]) for k in sorted(values)}


def _problem(row: Mapping[str, Any]) -> ProblemRow:
    problem, answer = str(row.get("problem", "")), str(row.get("answer", ""))
    return ProblemRow(int(row["index"]), problem, answer, int(row["num_correct"]), int(row["num_scored"]))


def _samples(file: Path, columns: list[str]) -> list[Sample] | None:
    """The rows by problem and sample; None where there is no such file."""
    if not file.is_file():
        return None
    rows = pq.read_table(file, columns=columns).to_pylist()
    samples = [Sample(**{**row, "reward": _number(row["reward"])}) for row in rows]
    return sorted(samples, key=lambda sample: (sample.index, sample.sample))


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)  # pandas writes an absent number as not-a-number
