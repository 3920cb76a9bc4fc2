"""A stand-in for what a re-evaluation starts of `python -m rl_core`: nothing is asked, the leaderboard is the real one.

`right.json` in the folder STAND_IN names how often a model solves each of ten problems, by the last part of its
folder's path ("base", "hf", "step_000010"), or how its evaluation ends instead. `calls.log` there gets a line a call.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from rl_core.__main__ import main as real_main
from rl_core.config import load_config
from rl_core.evaluation.benchmarks import benchmark_name
from rl_core.manifest import publishing, read_manifest, write_json
from rl_core.process_guard import guard_process
from rl_core.run_dir import RunDir, evaluation_name
from tests.rl_core.leaderboard.synthetic_runs import results

STATE = Path(os.environ["STAND_IN"])
USUAL = [4] * 10


def main() -> int:
    if sys.argv[1] == "leaderboard":
        record("leaderboard")
        return real_main()
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    for name in ("config", "run-dir", "hf-ckpt-path", "model-dir", "output"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("stage", "step"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--data-name")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    guard_process()
    return convert(options) if options.work == "convert" else evaluate(options)


def convert(options: argparse.Namespace) -> int:
    record(f"convert {options.stage} {options.step}")
    run = RunDir(options.run_dir, load_config(options.config))
    with publishing(options.hf_ckpt_path, key=run.keys.hf(options.stage)) as folder:
        (folder / "content.txt").write_text(f"model {options.stage} {options.step}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    name = options.model_dir.name
    record(f"evaluate {name}")
    asked = json.loads((STATE / "right.json").read_text()).get(name, USUAL)
    if isinstance(asked, str):
        print(asked, file=sys.stderr)
        return 1
    config = load_config(options.config, options.overrides)
    manifest = read_manifest(options.model_dir)
    assert manifest is not None
    protocol = config.evaluation.protocol.identity(config.data)
    folder = options.output / manifest["digest"]
    folder.mkdir(parents=True, exist_ok=True)
    benchmark = benchmark_name(options.data_name)
    content = {**results(protocol, manifest["digest"], asked), "benchmark": benchmark}
    write_json(folder / evaluation_name(benchmark, protocol), content)
    return 0


def record(line: str) -> None:
    with (STATE / "calls.log").open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
