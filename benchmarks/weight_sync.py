"""From the learner into the sampler: seconds, bytes and memory. `python -m benchmarks.weight_sync`.

Each model and engine in a process of its own; each synchronisation as a training step does it.
"""

import importlib.util
import tempfile
import time
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.models import EMBEDDED, HUNDRED_MILLION, SHAPES, write_model
from benchmarks.outcome import Spread, arguments, print_table, write_outcome
from benchmarks.processes import in_fresh_process

CONTEXT_TOKENS = 256
MB = 1e6


def measure(model: str, folder: Path, engine_name: str, zero_stage: int, repetitions: int) -> dict[str, object]:
    """Figures of one model, written into `folder`, and one engine, in a process that does nothing else."""
    from benchmarks.peak import peak_rise
    from rl_core.config import OptimizerConfig, RolloutConfig
    from rl_core.config.models import PolicyConfig
    from rl_core.config.training import TrainingConfig
    from rl_core.models.load import load_causal_lm
    from rl_core.rollout.choose import choose_engine
    from rl_core.rollout.start import start_engine
    from rl_core.training.learner import Learner
    from rl_core.training.synchronize import synchronize
    from rl_core.world import World

    write_model(model, folder)
    world = World.join()
    policy = PolicyConfig(model_name=str(folder))
    rollout = RolloutConfig.model_validate({"engine": engine_name})
    training = TrainingConfig.model_validate({"zero_stage": zero_stage})
    learner = Learner(load_causal_lm(folder, policy, world.device), training, OptimizerConfig(), world)
    engine = start_engine(
        choose_engine(rollout),
        folder,
        policy,
        rollout,
        context_tokens=CONTEXT_TOKENS,
        max_concurrent_sequences=8,
        beside_learner=True,
        world=world,
    )
    synchronize(learner, engine, 0)
    num_bytes, peak = peak_rise(lambda: synchronize(learner, engine, 1), world.device)
    whole, load, compare = [], [], []
    for version in range(2, 2 + repetitions):
        start = time.perf_counter()
        synchronize(learner, engine, version)
        done = time.perf_counter()
        engine.load_weights(learner.weights(), version)
        loaded = time.perf_counter()
        engine.fingerprint()
        compare.append(time.perf_counter() - loaded)
        load.append(loaded - done)
        whole.append(done - start)
    engine.close()
    world.leave()
    return {
        "MB": num_bytes / MB,
        "seconds": Spread.of(whole),
        "of these: load": Spread.of(load),
        "sampler's fingerprint": Spread.of(compare),
        "MB/s": num_bytes / MB / Spread.of(whole).median,
        "peak MB": peak / MB,
    }


def main() -> None:
    """Measure every model with every engine that is installed."""
    parser = arguments("weight_sync", __doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=[EMBEDDED, HUNDRED_MILLION])
    parser.add_argument("--engines", nargs="+", choices=["transformers", "vllm"], help="default: what is installed")
    parser.add_argument("--zero-stage", type=int, choices=range(4), default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    taken_under = circumstances()
    installed = ["transformers", *(["vllm"] if importlib.util.find_spec("vllm") else [])]
    rows: list[dict[str, object]] = []
    for model in options.models:
        for engine in options.engines or installed:
            with tempfile.TemporaryDirectory() as folder:
                row = in_fresh_process(measure, model, Path(folder), engine, options.zero_stage, options.repetitions)
            rows.append({"model": model, "engine": engine, **row})
    print_table("Weight synchronisation", rows)
    write_outcome(options.json, {"zero_stage": options.zero_stage, "rows": rows}, taken_under)


if __name__ == "__main__":
    main()
