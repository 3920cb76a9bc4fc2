"""A training that logs some steps of a stage in a process of its own, as stages are.

    python -m tests.rl_core.tracking_worker ROOT MODE STAGE FIRST END [OVERRIDE ...]

With KILL_SERVICE_AFTER in the environment, wandb's own process is killed after that step.
"""

import os
import signal
import sys
from pathlib import Path

import psutil

from rl_core import tracking
from rl_core.config import load_config
from rl_core.run_dir import RunDir

root, mode, stage, first, end, *overrides = sys.argv[1:]
if "INIT_SECONDS" in os.environ:
    tracking.INIT_SECONDS = float(os.environ["INIT_SECONDS"])
run = RunDir(Path(root), load_config(overrides=[f"tracking.wandb={mode}", *overrides]))
with tracking.Tracker(run, int(stage), enabled=True) as tracker:
    for step in range(int(first), int(end)):
        tracker.log({"stage": "8k", "step": step, "reward_mean": step / 10, "kl_ref_mean": None})
        if str(step) == os.environ.get("KILL_SERVICE_AFTER"):
            for child in psutil.Process().children(recursive=True):
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
print("trained to the end")
