"""Evaluates one model of a run under the recipe's protocol: samples, marks, counts, writes.

evaluations/<model digest>/<benchmark>-<protocol digest>.json      the figures, one row per problem
evaluations/<model digest>/<benchmark>-<protocol digest>.parquet   every sample
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from rl_core.config.rewards import RewardConfig
from rl_core.data.parquet import dataset_digest, load_problems
from rl_core.errors import MistakeError
from rl_core.evaluation.statistics import (
    Estimate,
    Outcome,
    agreement_at_k,
    estimate,
    majority_answer,
    majority_at_k,
    pass_at_k,
)
from rl_core.manifest import read_json, read_manifest, write_json
from rl_core.progress import Progress
from rl_core.rewards import Scorer, canonical
from rl_core.rollout.choose import Choice, choose_engine
from rl_core.rollout.collect import Collector, Limits, Rollout, response_metrics, tokenize_prompts
from rl_core.rollout.engine import Sampling
from rl_core.rollout.start import start_engine
from rl_core.run_dir import RunDir, StageIndex
from rl_core.training.records import write_rollouts
from rl_core.training.summary import update_summary
from rl_core.world import World

UNBOUNDED = 1 << 30  # context of a model that names none
CORRECT = 1.0  # what a verifier gives a right answer


def evaluate_model(run: RunDir, index: StageIndex | None) -> None:
    """Evaluate the model of stage `index`, or the base model (None); return at once when it is done.

    Raises:
        MistakeError: the model is not there yet, or the benchmark is not.
    """
    folder = run.base if index is None else run.stage(index).hf
    manifest = read_manifest(folder)
    if manifest is None:
        command = "warm-up" if index is None else f"convert --stage {index}"
        raise MistakeError(f"{folder} does not hold a model yet: run `python -m rl_core {command}` first")
    result = run.evaluation(manifest["digest"])
    benchmark = run.data / f"{run.config.evaluation.benchmark}.parquet"
    digest = dataset_digest(benchmark)
    known = read_json(result)
    if known is not None and known["dataset_digest"] == digest:
        print("already evaluated")
    else:
        name = "base" if index is None else run.stage_name(index)
        choice = choose_engine(run.config.rollout)
        rollouts = _sample(run, folder, benchmark, f"evaluate {name}", choice)
        result.parent.mkdir(parents=True, exist_ok=True)
        write_rollouts(result.with_suffix(".parquet"), rollouts)
        figures = _figures(run, rollouts, model_digest=manifest["digest"], dataset_digest=digest)
        write_json(result, {**figures, "engine": {"name": choice.engine, "version": choice.version}})
    if index is not None:
        update_summary(run, index, evaluation=str(result.relative_to(run.root)))


def _sample(run: RunDir, folder: Path, benchmark: Path, work: str, choice: Choice) -> list[Rollout]:
    """Every response that the protocol asks for, marked."""
    evaluation, world = run.config.evaluation, World.join()
    protocol = evaluation.protocol
    tokenizer = AutoTokenizer.from_pretrained(folder)
    context = getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", None) or UNBOUNDED
    problems, too_long = tokenize_prompts(load_problems(benchmark), tokenizer, context - 1)
    if too_long:
        raise MistakeError(f"{benchmark}: {too_long} prompts do not fit the model's context of {context} tokens")
    longest = max(len(problem.prompt_ids) for problem in problems) + protocol.max_new_tokens
    print(f"{work}: {choice}", flush=True)
    engine = start_engine(
        choice,
        folder,
        run.config.policy,
        run.config.rollout,
        context_tokens=min(context, longest),
        max_concurrent_sequences=evaluation.max_concurrent_sequences,
        beside_learner=False,
        world=world,
    )
    collector = Collector(engine, tokenizer, Scorer([RewardConfig(name=protocol.verifier)]), world)
    with closing(engine), Progress(work, len(problems) * protocol.num_samples, "response") as progress:
        return collector.collect(
            problems,
            Limits(protocol.max_new_tokens, context),
            Sampling(protocol.temperature, protocol.top_p),
            num_samples=protocol.num_samples,
            seed=(protocol.seed, "evaluation"),
            progress=progress,
        ).rollouts


def _figures(run: RunDir, rollouts: Sequence[Rollout], *, model_digest: str, dataset_digest: str) -> dict[str, Any]:
    evaluation = run.config.evaluation
    num_samples = evaluation.protocol.num_samples
    by_problem = [rollouts[start : start + num_samples] for start in range(0, len(rollouts), num_samples)]
    outcomes = [_outcome(samples) for samples in by_problem]
    ks = [2**power for power in range(num_samples.bit_length()) if 2**power <= num_samples]
    responses = response_metrics(rollouts)
    return {
        "model_digest": model_digest,
        "benchmark": evaluation.benchmark,
        "dataset_digest": dataset_digest,
        "protocol": run.protocol,
        "num_problems": len(by_problem),
        "pass_at_1": _interval(estimate([pass_at_k(o.num_correct, o.num_scored, 1) for o in outcomes])),
        "pass_at_k": {
            k: _interval(estimate([pass_at_k(o.num_correct, o.num_scored, k) for o in outcomes])) for k in ks
        },
        "majority_at_k": {k: _interval(estimate([majority_at_k(o, k) for o in outcomes])) for k in ks},
        "agreement_at_k": {k: _interval(estimate([agreement_at_k(o, k) for o in outcomes])) for k in ks},
        **{name: responses[name] for name in RESPONSE_FIGURES},
        "problems": [_row(samples, outcome) for samples, outcome in zip(by_problem, outcomes, strict=True)],
    }


RESPONSE_FIGURES = (
    "response_tokens_mean",
    "response_tokens_max",
    "truncated_fraction",
    "no_answer_fraction",
    "unscored_count",
)


def _outcome(samples: Sequence[Rollout]) -> Outcome:
    scored = [sample for sample in samples if sample.score.reward is not None]
    answers = tuple(None if sample.score.extracted is None else canonical(sample.score.extracted) for sample in scored)
    return Outcome(answers, tuple(sample.score.reward == CORRECT for sample in scored))


def _row(samples: Sequence[Rollout], outcome: Outcome) -> dict[str, Any]:
    problem = samples[0].problem
    return {
        "index": problem.index,
        "problem": problem.problem,
        "answer": problem.answer,
        "num_correct": outcome.num_correct,
        "num_scored": outcome.num_scored,
        "num_samples": len(samples),
        "majority_answer": majority_answer(outcome.answers),
        "response_tokens_mean": sum(len(sample.completion.token_ids) for sample in samples) / len(samples),
        "truncated": sum(sample.truncated for sample in samples),
    }


def _interval(value: Estimate) -> dict[str, float | None]:
    return {"value": value.value, "low": value.low, "high": value.high}
