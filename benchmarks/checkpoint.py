"""Saving, restoring and converting a policy, against a plain copy of its bytes: `python -m benchmarks.checkpoint`.

Each model in a process of its own. A checkpoint is written as training writes it, then its files are copied plainly to
the same disk, each synced as the checkpoint's tensors are; then the next checkpoint, and so on.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.circumstances import circumstances
from benchmarks.models import EMBEDDED, HUNDRED_MILLION, SHAPES, write_model
from benchmarks.outcome import Spread, arguments, interleaved, print_table, write_outcome
from benchmarks.processes import in_fresh_process

if TYPE_CHECKING:
    from rl_core.checkpoint.saving import CheckpointSaver

COPY_BYTES = 1 << 22  # held at a time by the plain copy
MB = 1e6
PROMPT = tuple(range(16))


def measure(model: str, folder: Path, disk: Path, zero_stage: int, repetitions: int) -> dict[str, object]:
    """Figures of one model, written into `folder`, its checkpoints below `disk`, in a process of its own."""
    import torch
    from transformers import AutoTokenizer

    from rl_core.checkpoint.convert import convert
    from rl_core.checkpoint.saving import CheckpointSaver
    from rl_core.checkpoint.state import restore_checkpoint
    from rl_core.config import OptimizerConfig, load_config
    from rl_core.config.models import PolicyConfig
    from rl_core.config.training import TrainingConfig
    from rl_core.models.load import load_causal_lm
    from rl_core.training.learner import Learner
    from rl_core.training.partitions import create_moments
    from rl_core.world import World

    write_model(model, folder)
    world = World.join()
    training = TrainingConfig.model_validate({"zero_stage": zero_stage})
    policy = load_causal_lm(folder, PolicyConfig(model_name=str(folder)), world.device)
    learner = Learner(policy, training, OptimizerConfig(), world)
    create_moments(learner, 1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    saver = CheckpointSaver(learner, config=load_config(), key="benchmark", tokenizer=tokenizer, prompts=[PROMPT])
    checkpoint, copy = disk / "step_000001", disk / "copy"
    with saver:
        works = {
            "save": lambda: _save(saver, checkpoint),
            "copy": lambda: (_timed(lambda: _plain_copy(checkpoint, copy)),),
        }
        interleaved(works, 1)  # the first copy of the tensors takes its memory
        taken = interleaved(works, repetitions)
    held, written = (Spread.of(seconds) for seconds in zip(*taken["save"], strict=True))
    (copied,) = (Spread.of(seconds) for seconds in zip(*taken["copy"], strict=True))
    size = sum(file.stat().st_size for file in _files(checkpoint)) / MB
    policy_folder, converted = checkpoint / "policy", disk / "hf"
    converted.mkdir()
    export = load_config().checkpoint
    return {
        "MB": size,
        "step held s": held,
        "written s": written,
        "plain copy s": copied,
        "written MB/s": size / written.median,
        "plain MB/s": size / copied.median,
        "ratio": written.median / copied.median,
        "restore s": _timed(lambda: restore_checkpoint(checkpoint, learner)),
        "convert s": _timed(
            lambda: convert(
                policy_folder / "weights",
                converted,
                model_files=policy_folder,
                dtype=torch.bfloat16,
                max_shard_bytes=export.max_shard_bytes,
            )
        ),
    }


def _save(saver: "CheckpointSaver", checkpoint: Path) -> tuple[float, float]:
    """Seconds that the step is held, and that the thread writes."""
    held = _timed(lambda: saver.save(checkpoint, {"step": 1}))
    saver.finish()
    assert saver.write_seconds is not None, "finished"
    return held, saver.write_seconds


def _plain_copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for file in _files(source):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as reading, copy.open("wb") as writing:
            shutil.copyfileobj(reading, writing, COPY_BYTES)
            writing.flush()
            os.fsync(writing.fileno())


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure every model."""
    parser = arguments("checkpoint", __doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=[EMBEDDED, HUNDRED_MILLION])
    parser.add_argument("--disk", type=Path, default=Path("runs"), help="folder to write in (default runs)")
    parser.add_argument("--zero-stage", type=int, choices=range(4), default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    taken_under = circumstances()
    options.disk.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=options.disk) as disk:
            row = in_fresh_process(measure, model, Path(folder), Path(disk), options.zero_stage, options.repetitions)
            rows.append({"model": model, **row})
    print_table("Checkpoints", rows)
    write_outcome(options.json, {"zero_stage": options.zero_stage, "rows": rows}, taken_under)


if __name__ == "__main__":
    main()
