"""What each algorithm teaches the embedded model: `python -m benchmarks.algorithms [--seeds 0 1 2]`.

One stage of the embedded recipe, by each algorithm from the same first policy on the same problems, through the same
commands as any run: train, convert, evaluate. The table of docs/algorithms.md.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.circumstances import circumstances
from benchmarks.outcome import arguments, print_table, write_outcome
from benchmarks.stages import evaluation, run_stage, shares
from rl_core.config import load_config
from rl_core.evaluation.statistics import estimate, paired_difference

STEPS, RESPONSE_TOKENS, RESPONSES = 40, 96, 256  # of each algorithm's one stage; responses a step
STAGE = {
    "stages": [{"name": "96", "steps": STEPS, "max_prompt_tokens": 64, "max_response_tokens": RESPONSE_TOKENS}],
    "checkpoint.every_steps": STEPS,
    "validation": {"every_steps": STEPS, "num_problems": 1, "num_samples": 1},
    "tracking.wandb": "disabled",
}
# As the presets have them, but for rates that suit half a million parameters.
ALGORITHMS: dict[str, dict[str, Any]] = {
    "GRPO": {},
    "PPO": {
        "rollout.num_prompts": RESPONSES,
        "rollout.num_samples": 1,
        "algorithm.baseline": "critic",
        "algorithm.scale": "none",
        "algorithm.whiten": True,
        "algorithm.dual_clip": 3.0,
        "algorithm.kl_coefficient": 0.01,
        "algorithm.minibatch_sequences": RESPONSES // 2,
        "critic": {"optimizer": {"learning_rate": 1e-3, "betas": [0.9, 0.99], "weight_decay": 0.0}},
    },
    "CPGD": {
        "algorithm.objective": "cpgd",
        "algorithm.drift_coefficient": 0.001,
        "algorithm.aggregation": "prompt_mean_token_mean",
    },
    "LoRA GRPO": {
        "policy.lora": {"rank": 16, "alpha": 32},
        "optimizer.learning_rate": 1e-3,
        "algorithm.kl_coefficient": 0.001,
    },
}
MADE_ONCE = ("download", "prepare", "warm-up", "evaluate")  # of a seed, for all algorithms
MADE_BY_EACH = ("train --stage 0", "convert --stage 0", "evaluate --stage 0")


def main() -> None:
    """Train with every algorithm and seed, print and keep what the models are worth."""
    parser = arguments("algorithms", __doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS), metavar="ALGORITHM")
    options = parser.parse_args()
    taken_under = circumstances()
    found: dict[str, dict[int, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="algorithms-") as folder:
        for seed in options.seeds:
            for name, of_problems in compare(Path(folder), seed, options.only):
                found.setdefault(name, {})[seed] = of_problems
                print(f"seed {seed}, {name}: pass@1 {mean(of_problems):.3f}", flush=True)
    rows = [_row(name, of_seeds, found["base"]) for name, of_seeds in found.items()]
    print_table(f"pass@1 on held-out problems after {STEPS} steps of {RESPONSES} responses", rows)
    write_outcome(options.json, {"steps": STEPS, "responses": RESPONSES, "rows": rows}, taken_under)


def compare(folder: Path, seed: int, names: Sequence[str]) -> list[tuple[str, list[float]]]:
    """By model, the share of right answers to each held-out problem: of the base, and of what each algorithm made."""
    base = folder / f"base-{seed}"
    _run(base, seed, {}, MADE_ONCE)
    results = [("base", _correct_shares(base, seed, {}, None))]
    for name in names:
        root = folder / f"{name}-{seed}"
        shutil.copytree(base, root)
        started = time.perf_counter()
        _run(root, seed, ALGORITHMS[name], MADE_BY_EACH)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        results.append((name, _correct_shares(root, seed, ALGORITHMS[name], 0)))
        shutil.rmtree(root)
    return results


def _overrides(seed: int, settings: Mapping[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value)}" for name, value in {"seed": seed, **STAGE, **settings}.items()]


def _run(root: Path, seed: int, settings: Mapping[str, Any], stages: Sequence[str]) -> None:
    for stage in stages:
        run_stage(stage, ["--run-dir", root, *_overrides(seed, settings)])


def _correct_shares(root: Path, seed: int, settings: Mapping[str, Any], index: int | None) -> list[float]:
    return shares(evaluation(root, load_config(None, _overrides(seed, settings)), index))


def _row(name: str, of_seeds: Mapping[int, list[float]], base: Mapping[int, list[float]]) -> dict[str, object]:
    """A line of the table: each seed, and the gain over that seed's base with its 95 % interval over all problems."""
    row: dict[str, object] = {"model": name}
    for seed, of_problems in of_seeds.items():
        score = estimate(of_problems)
        row[f"seed {seed}"] = f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
    if name == "base":
        return {**row, "gain over base": None}
    before = [share for seed in of_seeds for share in base[seed]]
    gain = paired_difference(before, [share for of_problems in of_seeds.values() for share in of_problems])
    return {**row, "gain over base": f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"}


if __name__ == "__main__":
    main()
