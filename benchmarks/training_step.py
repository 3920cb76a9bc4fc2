"""Our training step against TRL's GRPOTrainer: `python -m benchmarks.training_step --peer-python PATH`.

Ours is `python -m rl_core train` on the embedded recipe's first stage, whole: DeepSpeed, fingerprints, metrics and
checkpoints included. Both train the same first policy on the same problems and take turns, one stopped while the other
works. The first step of each is its start and not counted. Afterwards both policies answer the held-out problems.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.circumstances import circumstances
from benchmarks.held_out import correct_shares
from benchmarks.outcome import Spread, arguments, print_table, shown, write_outcome
from benchmarks.turns import Contestant
from rl_core.config import load_config
from rl_core.evaluation.statistics import estimate
from rl_core.run_dir import RunDir

REPOSITORY = Path(__file__).resolve().parents[1]
START_STEPS = 1
MEBIBYTE = 2**20
PREPARE = ("download", "prepare", "warm-up")
PEER_ENVIRONMENT = """--peer-python: no Python with trl. An environment that adds it to this one (`make test` made it):
    python -m venv PEER
    .venv/bin/python -c 'import site; print(site.getsitepackages()[0])' > PEER/lib/python3.*/site-packages/ours.pth
    PEER/bin/pip install --no-deps trl==1.16.0 'datasets>=4.7,<5' accelerate multiprocess
then --peer-python PEER/bin/python"""


@dataclass(frozen=True, slots=True)
class Work:
    """What both are given."""

    limit: int
    steps: int
    turn_steps: int
    overrides: list[str]  # of ours alone

    def recipe(self, seed: int) -> list[str]:
        """Ours, as overrides of the embedded recipe; hardly anything is measured during training, as by TRL."""
        return [
            f"seed={seed}",
            f"stages.0.steps={self.steps}",
            f"stages.0.max_response_tokens={self.limit}",
            "algorithm.minibatch_sequences=64",
            "validation.num_problems=1",
            "validation.num_samples=1",
            *self.overrides,
        ]


@dataclass(frozen=True, slots=True)
class Result:
    """Of one side with one seed."""

    seconds: list[float]  # a step, of each turn
    samples_per_second: float  # over all turns
    peak_bytes: int
    training_rewards: list[float]  # by step
    correct: list[float]  # by held-out problem, the share of its answers that are right


def main() -> None:
    """Let both train with each seed, print and keep the figures."""
    options = _options()
    _require_peer(options.peer_python)
    taken_under = circumstances()
    work = Work(options.limit, options.steps, options.turn_steps, options.overrides)
    results: dict[int, dict[str, Result]] = {}
    rows: list[dict[str, object]] = []
    for seed in options.seeds:
        results[seed] = compare(work, seed, options.peer_python)
        for name, result in results[seed].items():
            rows.append(_row(seed, name, result))
            print(", ".join(f"{heading} {shown(value)}" for heading, value in rows[-1].items()), flush=True)
    print_table(f"A training step, {work.limit} response tokens, {work.steps} steps", rows)
    summary = _summary(list(results.values()))
    print_table("Ours to TRL", [summary])
    figures = {
        "response_limit_tokens": work.limit,
        "steps": work.steps,
        "overrides": work.overrides,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "rows": rows,
        "summary": summary,
    }
    write_outcome(options.json, figures, taken_under)


def compare(work: Work, seed: int, peer_python: Path) -> dict[str, Result]:
    """Both sides with one seed."""
    with tempfile.TemporaryDirectory(prefix="training-step-") as folder:
        run = RunDir(Path(folder) / "run", load_config(None, work.recipe(seed)))
        for stage in PREPARE:
            _run_stage(stage, run, work, seed)
        peer = Path(folder) / "peer"
        peer.mkdir()
        journals = {"TRL": peer / "journal.jsonl", "ours": run.stage(0).metrics}
        # Ours writes a line before its first step too.
        lines_before = {"TRL": 0, "ours": 1}
        commands = {
            "TRL": _peer_command(peer_python, run, work, seed, journals["TRL"], peer / "model"),
            "ours": [*_stage_command("train", run, work, seed), "--stage=0"],
        }
        turns, peaks = _train(commands, journals, lines_before, work, Path(folder))
        _run_stage("convert", run, work, seed, "--stage=0")
        models = {"TRL": peer / "model", "ours": run.stage(0).hf}
        correct = correct_shares(models, run)
        return {
            name: Result(
                [seconds / steps for seconds, steps in turns[name]],
                _samples(run, turns[name]) / sum(seconds for seconds, _ in turns[name]),
                peaks[name],
                _rewards(journals[name]),
                correct[name],
            )
            for name in commands
        }


Turn = tuple[float, int]  # its seconds and steps


def _train(
    commands: dict[str, list[str]], journals: dict[str, Path], lines_before: dict[str, int], work: Work, folder: Path
) -> tuple[dict[str, list[Turn]], dict[str, int]]:
    """The turns and the peak memory of each."""
    contestants: dict[str, Contestant] = {}
    environment = {"PYTHONPATH": str(REPOSITORY), "TOKENIZERS_PARALLELISM": "false"}
    turns: dict[str, list[Turn]] = {name: [] for name in commands}
    try:
        for name, command in commands.items():
            contestants[name] = Contestant(command, journals[name], folder / f"{name}.log", environment)
            contestants[name].work_until(lines_before[name] + START_STEPS)
        done = START_STEPS
        while done < work.steps:
            target = min(done + work.turn_steps, work.steps)
            for name, contestant in contestants.items():
                turns[name].append((contestant.work_until(lines_before[name] + target), target - done))
            done = target
        peaks = {name: contestant.peak_memory_bytes() for name, contestant in contestants.items()}
        for contestant in contestants.values():
            contestant.finish()
    finally:
        for contestant in contestants.values():
            contestant.abandon()
    return turns, peaks


def _stage_command(stage: str, run: RunDir, work: Work, seed: int) -> list[str]:
    return [sys.executable, "-m", "rl_core", stage, f"--run-dir={run.root}", *work.recipe(seed)]


def _run_stage(stage: str, run: RunDir, work: Work, seed: int, *arguments: str) -> None:
    command = [*_stage_command(stage, run, work, seed), *arguments]
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def _peer_command(python: Path, run: RunDir, work: Work, seed: int, journal: Path, out: Path) -> list[str]:
    stage = run.config.stages[0]
    settings = {
        "model": run.base,
        "problems": run.data / "train.parquet",
        "journal": journal,
        "out": out,
        "limit": work.limit,
        "steps": work.steps,
        "prompts": stage.rollout.num_prompts,
        "group": stage.rollout.num_samples,
        "minibatch": stage.algorithm.minibatch_sequences,
        "seed": seed,
        "learning-rate": stage.optimizer.learning_rate,
    }
    return [str(python), "-m", "benchmarks.peers.trl_grpo", *(f"--{name}={value}" for name, value in settings.items())]


def _samples(run: RunDir, turns: Sequence[Turn]) -> int:
    rollout = run.config.stages[0].rollout
    return rollout.num_prompts * rollout.num_samples * sum(steps for _, steps in turns)


def _rewards(journal: Path) -> list[float]:
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return [line["reward_mean"] for line in lines if line["step"] > 0]


def _row(seed: int, name: str, result: Result) -> dict[str, object]:
    return {
        "seed": seed,
        "side": name,
        "step s": Spread.of(result.seconds),
        "samples/s": result.samples_per_second,
        "peak MiB": result.peak_bytes / MEBIBYTE,
        "training reward, last five steps": mean(result.training_rewards[-5:]),
        "held-out reward": mean(result.correct),
    }


def _summary(results: Sequence[dict[str, Result]]) -> dict[str, object]:
    """Ratios of all seeds together; the difference of held-out rewards with its 95 % interval over problems."""
    turns = {name: Spread.of([s for both in results for s in both[name].seconds]) for name in ("TRL", "ours")}
    differences = [
        ours - theirs
        for both in results
        for ours, theirs in zip(both["ours"].correct, both["TRL"].correct, strict=True)
    ]
    held_out = estimate(differences)
    ratios = [both["ours"].samples_per_second / both["TRL"].samples_per_second for both in results]
    return {
        "seeds": len(results),
        "samples/s, ratio": Spread.of(ratios),
        "step s of medians, ratio": turns["TRL"].median / turns["ours"].median,
        "memory, ratio": max(b["ours"].peak_bytes for b in results) / min(b["TRL"].peak_bytes for b in results),
        "held-out reward, difference": held_out.value,
        "from": held_out.low,
        "to": held_out.high,
    }


def _require_peer(python: Path) -> None:
    found = python.exists() and subprocess.run([python, "-c", "import trl, datasets, accelerate"], capture_output=True)
    if not found or found.returncode:
        sys.exit(PEER_ENVIRONMENT)


def _options() -> argparse.Namespace:
    parser = arguments("training_step", __doc__)
    parser.add_argument("--peer-python", type=Path, default=Path("peer/bin/python"), help="a Python that has trl")
    parser.add_argument("--limit", type=int, default=32, help="response tokens (default 32)")
    parser.add_argument("--steps", type=int, default=25, help="rollout-and-update steps (default 25)")
    parser.add_argument("--turn-steps", type=int, default=4, help="steps of one turn (default 4)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="more settings of ours")
    return parser.parse_args()


if __name__ == "__main__":
    main()
