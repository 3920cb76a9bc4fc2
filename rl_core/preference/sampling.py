"""Responses to the problems of the pairs, with their verdicts: sampled and written some problems at a time.

They stand in a folder of their own while they are under way, so that a process that ends loses the problems of one
call at most. What each response is depends on (run seed, purpose, problem, sample) alone.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rl_core.config import PairsConfig
from rl_core.config.rewards import RewardConfig
from rl_core.data.parquet import PromptedProblem
from rl_core.errors import MistakeError
from rl_core.evaluation.figures import CORRECT
from rl_core.manifest import read_json, write_json
from rl_core.models.load import context_tokens
from rl_core.preference.pairing import Response
from rl_core.preference.table import read_samples, write_samples
from rl_core.progress import Progress
from rl_core.rewards import Scorer
from rl_core.rewards.answers import with_opened_thought
from rl_core.rollout.choose import choose_engine
from rl_core.rollout.collect import Collector, Limits, Rollout, ends_in_thought, tokenize_prompts
from rl_core.rollout.engine import Sampling
from rl_core.rollout.start import start_engine
from rl_core.run_dir import RunDir
from rl_core.types import Problem
from rl_core.world import World

PURPOSE = "pairs"
ROUNDS = 4  # of the sampler's concurrency, in one call: fewer leave it waiting for the longest response more often


def sample_responses(
    run: RunDir, pairs: PairsConfig, problems: Sequence[PromptedProblem], folder: Path
) -> tuple[dict[int, list[Response]], int]:
    """The responses of the first policy to each problem, by its index, and how many prompts were too long.

    Goes on from what `folder` holds already, and leaves everything there.

    Raises:
        MistakeError: what `folder` holds was sampled with other settings, or no prompt fits the model's context.
    """
    _own(folder, run.keys.pairs())
    policy = run.first_policy(0)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    context = context_tokens(policy)
    fitting, num_too_long = tokenize_prompts(problems, tokenizer, context - 1)
    if not fitting:
        raise MistakeError(f"pairs: none of {len(problems)} prompts fits the model's context of {context} tokens")
    sampled = _read(folder)
    missing = [problem for problem in fitting if problem.index not in sampled]
    if missing:
        _sample(run, pairs, tokenizer, missing, Limits(pairs.max_new_tokens, context), folder)
        sampled = _read(folder)
    return sampled, num_too_long


def _sample(
    run: RunDir,
    pairs: PairsConfig,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    limits: Limits,
    folder: Path,
) -> None:
    world, rollout = World.join(), run.config.rollout
    choice = choose_engine(rollout)
    print(f"pairs: {choice}", flush=True)
    longest = max(len(problem.prompt_ids) for problem in problems) + pairs.max_new_tokens
    engine = start_engine(
        choice,
        run.first_policy(0),
        run.config.policy,
        rollout,
        context_tokens=min(limits.max_total_tokens, longest),
        max_concurrent_sequences=rollout.max_concurrent_sequences,
        beside_learner=False,
        world=world,
    )
    collector = Collector(engine, tokenizer, Scorer([RewardConfig(name=pairs.verifier)]), world)
    at_once = max(1, ROUNDS * rollout.max_concurrent_sequences // pairs.num_samples)
    with closing(engine), Progress("pairs", len(problems), "problem", enabled=world.is_first) as progress:
        for start in range(0, len(problems), at_once):
            asked = problems[start : start + at_once]
            rollouts = collector.collect(
                asked,
                limits,
                Sampling(pairs.temperature, pairs.top_p),
                num_samples=pairs.num_samples,
                seed=(run.config.seed, PURPOSE),
            ).rollouts
            if world.is_first:
                _write(folder / f"{asked[0].index:08d}.parquet", [_response(one, tokenizer) for one in rollouts])
            progress.update(start + len(asked))
        world.barrier()


def _own(folder: Path, key: str) -> None:
    """Make the folder, or see that it is of this recipe."""
    file = folder / "settings.json"
    known = read_json(file)
    if known is None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(file, {"config_digest": key})
    elif known["config_digest"] != key:
        raise MistakeError(f"{folder} was sampled with other settings: give another --run-dir, or remove it")


def _write(file: Path, responses: Sequence[tuple[int, Response]]) -> None:
    temporary = file.with_name(file.name + ".partial")
    write_samples(temporary, responses)
    temporary.replace(file)


def _read(folder: Path) -> dict[int, list[Response]]:
    sampled: dict[int, list[Response]] = {}
    for file in sorted(folder.glob("*.parquet")):
        for index, response in read_samples(file):
            sampled.setdefault(index, []).append(response)
    return sampled


def _response(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> tuple[int, Response]:
    reward = rollout.score.reward
    return rollout.problem.index, Response(
        with_opened_thought(rollout.response, ends_in_thought(rollout.problem.prompt_ids, tokenizer)),
        len(rollout.completion.token_ids),
        None if reward is None else reward == CORRECT,
        rollout.truncated,
    )
