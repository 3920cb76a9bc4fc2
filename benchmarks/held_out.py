"""What policies are worth on a run's held-out problems: the same questions, seeds and marks for each."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import torch
from transformers import AutoTokenizer

from rl_core.config.rewards import RewardConfig
from rl_core.data.parquet import load_problems
from rl_core.models.load import load_causal_lm
from rl_core.rewards import Scorer
from rl_core.rollout.collect import Collector, Limits, tokenize_prompts
from rl_core.rollout.engine import Sampling
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.run_dir import RunDir
from rl_core.world import World


def correct_shares(models: Mapping[str, Path], run: RunDir) -> dict[str, list[float]]:
    """For each model, by held-out problem, the share of its answers that are right, under the run's own protocol."""
    protocol, stage = run.config.evaluation.protocol, run.config.stages[0]
    tokenizer = AutoTokenizer.from_pretrained(run.base)
    problems, _ = tokenize_prompts(load_problems(run.data / "test.parquet"), tokenizer, stage.max_prompt_tokens)
    limits = Limits(protocol.max_new_tokens, stage.max_prompt_tokens + protocol.max_new_tokens)
    scorer = Scorer([RewardConfig(name=protocol.verifier)])
    shares = {}
    for name, folder in models.items():
        model = load_causal_lm(folder, run.config.policy, torch.device("cpu")).eval()
        engine = TransformersEngine(model, max_concurrent_sequences=run.config.evaluation.max_concurrent_sequences)
        rollouts = (
            Collector(engine, tokenizer, scorer, World(0, 1, torch.device("cpu")))
            .collect(
                problems,
                limits,
                Sampling(protocol.temperature, protocol.top_p),
                num_samples=protocol.num_samples,
                seed=(protocol.seed, "evaluation"),
            )
            .rollouts
        )
        rewards = [rollout.score.reward or 0.0 for rollout in rollouts]
        size = protocol.num_samples
        shares[name] = [mean(rewards[start : start + size]) for start in range(0, len(rewards), size)]
    return shares
