"""`--plan`: what a recipe would do, and what of it a run directory holds already."""

import sys

from rich.console import Console
from rich.table import Table

from rl_core.config import RecipeConfig, StageConfig
from rl_core.opening import short_path
from rl_core.plan import all_parts
from rl_core.run_dir import RunDir

PLAIN_WIDTH = 160  # of a table that goes to a file or a pipe


def print_plan(run: RunDir) -> None:
    """Print the resolved stages and the status of every part."""
    output, config = console(), run.config
    what = "recipe" if config.rehearses is None else f"rehearsal of {config.rehearses.recipe}:"
    output.print(f"{what} {config.name}  seed {config.seed}  digest {run.keys.recipe()}", highlight=False)
    output.print(f"run {short_path(run.root)}  model {config.policy.model_name}", highlight=False)
    output.print(_stages(config))
    output.print(_parts(run))


def console() -> Console:
    """Where tables go: a terminal as it is, anything else wide and plain."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH, no_color=True)


def _stages(config: RecipeConfig) -> Table:
    names = ["stage", "steps", "prompts x samples", "response tokens", "context", "learning rate", "engine", "ZeRO"]
    table = Table(*names, title="Stages", title_justify="left")
    for stage in config.stages:
        table.add_row(*_stage_row(config, stage))
    return table


def _stage_row(config: RecipeConfig, stage: StageConfig) -> list[str]:
    return [
        stage.name,
        str(stage.steps),
        f"{stage.rollout.num_prompts} x {stage.rollout.num_samples}",
        str(stage.max_response_tokens),
        str(stage.context_tokens),
        f"{stage.optimizer.learning_rate:g}",
        stage.rollout.engine,
        f"{config.training.zero_stage}, processes {config.training.num_processes}",
    ]


def _parts(run: RunDir) -> Table:
    table = Table("part", "status", "where", title="Parts of the run", title_justify="left")
    for part in all_parts(run):
        table.add_row(part.name, part.status, short_path(part.path))
    return table
