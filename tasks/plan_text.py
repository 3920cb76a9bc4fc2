"""What a run consists of, as Markdown: its stages, and its parts with what of them is done."""

from collections.abc import Sequence

from rl_core.config import RecipeConfig
from rl_core.plan import all_parts
from rl_core.run_dir import RunDir


def plan_text(run: RunDir) -> str:
    """The plan as Prefect shows it; on a terminal it is a table of `flows.plan_table`."""
    config = run.config
    return "\n\n".join(
        [
            f"# Plan of {config.name}",
            f"In `{run.root}`, seed {config.seed}, digest `{run.keys.recipe()}`, from `{config.policy.model_name}`.",
            _table(["stage", "steps", "prompts x samples", "response tokens", "learning rate"], _stages(config)),
            _table(["part", "status"], [[part.name, part.status] for part in all_parts(run)]),
        ]
    )


def _stages(config: RecipeConfig) -> list[list[str]]:
    return [
        [
            stage.name,
            str(stage.steps),
            f"{stage.rollout.num_prompts} x {stage.rollout.num_samples}",
            str(stage.max_response_tokens),
            f"{stage.optimizer.learning_rate:g}",
        ]
        for stage in config.stages
    ]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [headers, ["---"] * len(headers), *rows])
