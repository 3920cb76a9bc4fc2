"""What each part of the fifth system adds: `python -m benchmarks.sft_rm_ppo [--seeds 0 1 2]`.

The rehearsal of configs/sft_rm_ppo_qwen2_5_math_7b.yaml, through the same commands as any run: base model, fine-tuning,
pairs, reward model, PPO, and an evaluation of each of the three models. The tables of docs/fine_tuning.md.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.circumstances import circumstances
from benchmarks.outcome import arguments, print_table, write_outcome
from benchmarks.stages import REPOSITORY, evaluation, run_stage, shares
from rl_core.config import SFT, StageIndex, dump_config, load_config
from rl_core.config.rehearsal import rehearse
from rl_core.evaluation.statistics import estimate, paired_difference
from rl_core.manifest import read_json
from rl_core.run_dir import RunDir

PRESET = REPOSITORY / "configs" / "sft_rm_ppo_qwen2_5_math_7b.yaml"
COMMANDS = (
    "download", "prepare", "warm-up", "evaluate",
    "sft", "convert --stage sft", "evaluate --stage sft",
    "pairs", "reward-model",
    "train --stage 0", "convert --stage 0", "evaluate --stage 0",
)  # fmt: skip
MODELS: dict[str, StageIndex | None] = {"base": None, "sft": SFT, "ppo": 0}
OF_THE_TABLE = ("pass_at_k", "majority_at_k", "agreement_at_k")


@dataclass(frozen=True)
class Trial:
    """One seed."""

    shares: Mapping[str, list[float]]  # by model, of right answers to each held-out problem
    evaluations: Mapping[str, Any]  # by model
    reward_model: Mapping[str, Any]  # what it is on held-out pairs
    seconds: Mapping[str, float]  # by command


def main() -> None:
    """Run every seed, print and keep what the models are worth."""
    parser = arguments("sft_rm_ppo", __doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, help="where the runs are kept, and go on from (default: nowhere)")
    options = parser.parse_args()
    taken_under, trials = circumstances(), dict[int, Trial]()
    with tempfile.TemporaryDirectory(prefix="sft-rm-ppo-") as scratch:
        for seed in options.seeds:
            trials[seed] = run_seed((options.folder or Path(scratch)) / f"seed-{seed}", seed)
            scores = ", ".join(f"{name} {mean(shares):.3f}" for name, shares in trials[seed].shares.items())
            print(f"seed {seed}: {scores}; {sum(trials[seed].seconds.values()):.0f} s", flush=True)
    rows = [_row(name, trials) for name in MODELS]
    print_table("pass@1 on held-out problems", rows)
    further = [_further(name, trials) for name in MODELS]
    print_table("over all seeds", further)
    judged = [_judged(seed, trial) for seed, trial in trials.items()]
    print_table("the reward model on held-out pairs", judged)
    seconds = {seed: dict(trial.seconds) for seed, trial in trials.items()}
    write_outcome(
        options.json, {"rows": rows, "further": further, "reward_model": judged, "seconds": seconds}, taken_under
    )


def run_seed(root: Path, seed: int) -> Trial:
    """The whole rehearsal under one seed."""
    overrides = [f"seed={seed}", "tracking.wandb=disabled"]
    config = rehearse(load_config(PRESET, overrides), overrides).config
    root.mkdir(parents=True, exist_ok=True)
    file = root / "recipe.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    seconds = {command: run_stage(command, ["--config", file, "--run-dir", root]) for command in COMMANDS}
    evaluations = {name: evaluation(root, config, index) for name, index in MODELS.items()}
    run = RunDir(root, config)
    return Trial(
        shares={name: shares(results) for name, results in evaluations.items()},
        evaluations=evaluations,
        reward_model=read_json(run.reward_model_training.summary)["held_out"],
        seconds=seconds,
    )


def _row(name: str, trials: Mapping[int, Trial]) -> dict[str, object]:
    """A line of the table: each seed, and the gain over the model before, paired over the problems of all seeds."""
    row: dict[str, object] = {"model": name}
    for seed, trial in trials.items():
        score = estimate(trial.shares[name])
        row[f"seed {seed}"] = f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
    names = list(MODELS)
    if name == names[0]:
        return {**row, "gain over the model before": None}
    before = names[names.index(name) - 1]
    gain = paired_difference(
        [share for trial in trials.values() for share in trial.shares[before]],
        [share for trial in trials.values() for share in trial.shares[name]],
    )
    return {**row, "gain over the model before": f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"}


def _further(name: str, trials: Mapping[int, Trial]) -> dict[str, object]:
    """Pass@1, pass@k, majority and agreement for the most samples there are: the means over seeds."""
    of_seeds = [trial.evaluations[name] for trial in trials.values()]
    row: dict[str, object] = {"model": name, "pass@1": f"{mean(each['pass_at_1']['value'] for each in of_seeds):.3f}"}
    for figure in OF_THE_TABLE:
        most = max(of_seeds[0][figure], key=int)
        value = mean(each[figure][most]["value"] for each in of_seeds)
        row[f"{figure.removesuffix('_at_k')}@{most}"] = f"{value:.3f}"
    return row


def _judged(seed: int, trial: Trial) -> dict[str, object]:
    figures = trial.reward_model
    return {
        "seed": seed,
        "pairs": figures["accuracy"]["num_pairs"],
        "accuracy": _in_words(figures["accuracy"]),
        "with lengths matched": _in_words(figures["accuracy_length_matched"]),
        "best rule of lengths": _in_words(figures["length"]["baseline"]),
        "above that rule, paired": _in_words(figures["length"]["above_baseline"]),
    }


def _in_words(value: Mapping[str, Any]) -> str:
    return "none" if value["value"] is None else f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


if __name__ == "__main__":
    main()
