"""A stand-in for `python -m rl_core`: the same command line, files and exit codes, and nothing learnt.

For tests of what stands around the stages. `stand_in.json` in the run directory changes what it does: for a stage's
name, `exit` and `message` (how it ends instead of working) or `hang`, `times` (only so often), `seconds` (of one step).
`calls.log` there gets one line for each piece of work that was really done.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from rl_core.config import SFT, StageIndex, load_config
from rl_core.manifest import publishing, read_manifest, write_json
from rl_core.plan import (
    DONE,
    benchmark_parts,
    evaluation_parts,
    evaluations_part,
    hf_part,
    newest_checkpoint,
    publish_part,
    taken_parts,
    training_part,
)
from rl_core.process_guard import guard_process
from rl_core.progress import Progress
from rl_core.run_dir import RunDir
from rl_core.stacks import answer_with_stacks

STEPS_OF_SFT = 2


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--stage", type=lambda text: SFT if text == SFT else int(text))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    guard_process()
    answer_with_stacks()
    run = RunDir(options.run_dir, load_config(options.config))
    asked = (read(run.root / "stand_in.json") or {}).get(options.work, {})
    if "exit" in asked and count(run, f"{options.work} failed") < asked.get("times", 1_000_000):
        record(run, f"{options.work} failed")
        print(asked.get("message", "error: asked to"), file=sys.stderr)
        return int(asked["exit"])
    if asked.get("hang") and count(run, f"{options.work} hangs") < asked.get("times", 1_000_000):
        record(run, f"{options.work} hangs")
        time.sleep(3600)
    if options.overrides:
        record(run, f"{options.work} with {' '.join(options.overrides)}")
    if options.work in ("train", SFT):
        train(run, SFT if options.work == SFT else options.stage, float(asked.get("seconds", 0.0)))
    elif options.work == "evaluate":
        evaluate(run, options.stage)
    elif options.work == "report":
        record(run, "report")
        run.report.write_text("# Report\n")
    elif options.work == "publish":
        publish(run)
    else:
        for part in taken_parts(run) if options.work == "warm-up" else []:
            fill(run, part.path, part.key, part.name, None)
        for part in benchmark_parts(run) if options.work == "download" else []:
            fill(run, part.path, part.key, part.name, None)
        folders = {
            "download": (run.sources, run.keys.sources),
            "prepare": (run.data, run.keys.data),
            "warm-up": (run.base, run.keys.base),
            "pairs": (run.pairs, run.keys.pairs),
            "reward-model": (run.reward_model, run.keys.reward_model),
        }
        folder, key = folders.get(options.work) or (run.stage(options.stage).hf, lambda: run.keys.hf(options.stage))
        fill(run, folder, key(), options.work, options.stage)
    return 0


def read(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None


def record(run: RunDir, line: str) -> None:
    with (run.root / "calls.log").open("a") as file:
        file.write(line + "\n")


def count(run: RunDir, line: str) -> int:
    log = run.root / "calls.log"
    return log.read_text().splitlines().count(line) if log.is_file() else 0


def fill(run: RunDir, folder: Path, key: str, work: str, stage: StageIndex | None) -> None:
    manifest = read_manifest(folder)
    if manifest is not None and manifest["config_digest"] == key:
        return
    record(run, work if stage is None else f"{work} {stage}")
    with publishing(folder, key=key) as partial:
        (partial / "content.txt").write_text(f"{work} {stage}\n")


def train(run: RunDir, index: StageIndex, step_seconds: float) -> None:
    if training_part(run, index).state == DONE:
        return
    stage, key = run.stage(index), run.keys.stage(index)
    steps = STEPS_OF_SFT if index == SFT else run.config.stages[index].steps
    last = newest_checkpoint(stage.checkpoints)
    asked_to_stop = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_stop.append(number))
    with Progress(training_part(run, index).name, steps) as progress:
        for step in range(last[0] + 1 if last else 1, steps + 1):
            time.sleep(step_seconds)
            stopped = bool(asked_to_stop)  # before the step is told: who waits for its line asks in the next one
            with publishing(stage.checkpoint(step), key=key) as partial:
                (partial / "weights.txt").write_text(f"{index} {step}\n")
            record(run, f"train {index} step {step}")
            progress.update(step, reward=step / steps)
            if stopped:
                record(run, f"train {index} stopped")
                sys.exit(143)
    write_json(stage.summary, {"status": "complete", "steps": steps})


def publish(run: RunDir) -> None:
    part, model = publish_part(run), hf_part(run, run.published_stage)
    if part.state != DONE:
        record(run, "publish")
        noted = {"key": part.key, "model_digest": model.digest, "commit": "c0ffee", "url": "https://hub.example/model"}
        write_json(run.published, noted)


def evaluate(run: RunDir, index: StageIndex | None) -> None:
    if evaluations_part(run, index).state == DONE:
        return
    record(run, f"evaluate {index}")
    value = 0.2 if index is None else 0.25 if index == SFT else 0.3 + 0.1 * index
    interval = {"value": value, "low": value - 0.05, "high": value + 0.05}
    numbers = {"response_tokens_mean": 20.0, "truncated_fraction": 0.1, "unscored_count": 0}
    for part in evaluation_parts(run, index):
        part.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(part.path, {"pass_at_1": interval, "pass_at_k": {"8": interval}, **numbers})


if __name__ == "__main__":
    sys.exit(main())
