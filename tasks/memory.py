"""Trains within the memory there is: where it ran out, again with micro-batches of half as many tokens.

How a batch is cut into micro-batches changes nothing that is learnt, but for float rounding. What was found to fit is
kept beside the stage, so that the run continues with it when it is started again.
"""

from prefect.logging import get_run_logger

from rl_core.manifest import read_json, write_json
from rl_core.run_dir import RunDir, StageDir
from tasks.display import say
from tasks.failures import StageOutOfMemory
from tasks.process import run_stage

FIELD = "training.micro_batch_tokens"
MIN_TOKENS = 64  # as the schema allows


def run_within_memory(
    run: RunDir,
    name: str,
    stage: str,
    files: StageDir,
    longest: int,
    index: int | None = None,
    *,
    unit: str = "sequence",
) -> None:
    """`run_stage`, with less at a time as often as memory runs out and less would help.

    Args:
        files: of the training, where what fits is kept.
        longest: tokens of the longest unit, which is computed alone where a micro-batch has fewer: less than it saves
            nothing.
        unit: what a micro-batch has whole, for messages.
    """
    asked = run.config.training.micro_batch_tokens
    tokens = _known_to_fit(files, asked)
    while True:
        overrides = [] if tokens == asked else [f"{FIELD}={tokens}"]
        try:
            run_stage(run, name, stage, index, overrides)
        except StageOutOfMemory as error:
            if tokens <= longest or tokens // 2 < MIN_TOKENS:
                raise StageOutOfMemory(f"{error}\n{_nothing_smaller(tokens, longest, unit)}") from None
            _say(f"{name}: out of memory with {FIELD}={tokens}; again with {tokens // 2}, which changes no result")
            tokens //= 2
            files.root.mkdir(parents=True, exist_ok=True)
            write_json(files.memory, {"asked": asked, "tokens": tokens})
        else:
            return


def _known_to_fit(files: StageDir, asked: int) -> int:
    """What an earlier attempt ended at, unless the recipe asks for something else since."""
    known = read_json(files.memory) or {}
    return int(known["tokens"]) if known.get("asked") == asked else asked


def _nothing_smaller(tokens: int, longest: int, unit: str) -> str:
    return (
        f"{FIELD} is {tokens}, and the longest {unit} has {longest}: smaller micro-batches would not help. What "
        "does: training.zero_stage=3, policy.gradient_checkpointing=true, a lower "
        "rollout.vllm.gpu_memory_utilization, fewer response tokens, more devices"
    )


def _say(line: str) -> None:
    say(line)
    get_run_logger().warning("%s", line)
