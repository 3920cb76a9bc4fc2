"""One step at each context stage, part by part, on one accelerator: `python -m benchmarks.accelerator`.

The stages are those of configs/deepscaler_1_5b_nemo.yaml, with fewer prompts; the model has their model's shape and
random weights. `--tiny` runs the same code with a tiny model and short stages, on whatever there is.
"""

import tempfile
from pathlib import Path

from benchmarks.circumstances import circumstances
from benchmarks.models import DISTILL, TINY
from benchmarks.outcome import arguments, print_table, write_outcome
from benchmarks.processes import in_fresh_process
from rl_core.config import load_config
from rl_core.environment import has_accelerator
from rl_core.errors import MistakeError

PRESET = Path(__file__).resolve().parents[1] / "configs" / "deepscaler_1_5b_nemo.yaml"
TINY_CONTEXT_TOKENS = 64  # of the first stage; the others grow as the preset's do


def main() -> None:
    """Measure each stage in a process of its own, print and keep the figures."""
    parser = arguments("accelerator", __doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny model and short stages, to see that it works")
    parser.add_argument("--stages", nargs="+", type=int, choices=range(3), default=range(3), help="default: all")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8, help="responses to each prompt")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings of the preset to change")
    options = parser.parse_args()
    if not (options.tiny or has_accelerator()):
        print("There is no accelerator here, and nothing was measured. --tiny shows on a CPU that this works.")
        return
    taken_under = circumstances()
    sizes = [
        f"rollout.num_prompts={options.prompts}",
        f"rollout.num_samples={options.samples}",
        f"algorithm.minibatch_sequences={options.prompts * options.samples}",
        *(_tiny_stages() if options.tiny else ()),
        *options.overrides,
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for index in options.stages:
            shape = TINY if options.tiny else DISTILL
            try:
                stage = in_fresh_process(_measure, PRESET, sizes, index, shape, Path(folder))
            except MistakeError as mistake:
                parser.error(str(mistake))
            print_table(f"Stage {index}", stage)
            rows += stage
    write_outcome(options.json, {"tiny": options.tiny, "settings": sizes, "rows": rows}, taken_under)


def _measure(preset: Path, overrides: list[str], index: int, shape: str, folder: Path) -> list[dict[str, object]]:
    from benchmarks.one_step import measure_stage  # and with it torch: in the process that measures

    return measure_stage(preset, overrides, index, shape, folder)


def _tiny_stages() -> list[str]:
    """The preset's stages shortened alike."""
    stages = load_config(PRESET).stages
    short = [TINY_CONTEXT_TOKENS * stage.context_tokens // stages[0].context_tokens for stage in stages]
    return [
        setting
        for index, tokens in enumerate(short)
        for setting in (
            f"stages.{index}.max_prompt_tokens={tokens // 2}",
            f"stages.{index}.max_response_tokens={tokens}",
            f"stages.{index}.max_total_tokens={tokens}",
        )
    ]


if __name__ == "__main__":
    main()
