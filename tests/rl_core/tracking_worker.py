"""A training that logs ten steps, and to which something happens after the third: `kill` ends wandb's own process."""

import os
import signal
import sys
from pathlib import Path

import psutil

from rl_core import tracking
from rl_core.config import load_config
from rl_core.run_dir import RunDir

happens, mode, root, *seconds = sys.argv[1:]
if seconds:
    tracking.INIT_SECONDS = tracking.FINISH_SECONDS = float(seconds[0])
run = RunDir(Path(root), load_config(overrides=[f"tracking.wandb={mode}"]))
with tracking.Tracker(run, 0, enabled=True) as tracker:
    for step in range(10):
        tracker.log({"stage": "8k", "step": step, "reward_mean": step / 10, "kl_ref_mean": None})
        if step == 3 and happens == "kill":
            for child in psutil.Process().children(recursive=True):
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
print("trained to the end")
