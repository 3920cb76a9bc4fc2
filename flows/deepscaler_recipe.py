"""DeepScaleR as one pipeline: data, base model, stages of growing context, an evaluation of each, a report.

A recipe may fine-tune its base model first, and train a reward model on pairs of the result's responses.

    python -m flows.deepscaler_recipe [--config FILE] [--run-dir DIR] [--plan] [--rehearse] [key=value ...]

Killed at any point, the same command goes on from there: each task below looks at what its part of the run directory
holds before it starts anything.
"""

if __name__ == "__main__":  # before Prefect is imported: --help and --plan answer at once, and our server comes first
    import sys

    from flows.command_line import main

    sys.exit(main())

from pathlib import Path

from prefect import flow

from rl_core.config import SFT, RecipeConfig
from rl_core.opening import open_run
from tasks.base_model import make_base_model
from tasks.convert import convert
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.pairs import make_pairs
from tasks.prepare import prepare
from tasks.publish import publish
from tasks.publishing import publish_plan
from tasks.report import write_report
from tasks.reward_model import train_reward_model
from tasks.sft import fine_tune
from tasks.train import train


@flow(name="deepscaler-recipe", flow_run_name="{config.name}", log_prints=False, persist_result=False)
def deepscaler_recipe(config: RecipeConfig, run_dir: Path | None = None) -> Path:
    """Run the recipe, or what is left of it, and return the path of the report.

    Args:
        config: the recipe.
        run_dir: where the run is; by default runs/ and the name of the recipe.
    """
    with open_run(config, run_dir) as run:
        publish_plan(run)
        sources = download(run)
        data = prepare(run, sources)
        policy = make_base_model(run, data)
        evaluations = [evaluate(run, None, policy)]
        if config.sft is not None:
            policy = convert(run, SFT, fine_tune(run, policy))
            evaluations.append(evaluate(run, SFT, policy))
        if config.pairs is not None:
            train_reward_model(run, make_pairs(run, policy))
        for index in range(len(config.stages)):
            trained = train(run, index, policy)
            policy = convert(run, index, trained)
            evaluations.append(evaluate(run, index, policy))
        report = write_report(run, evaluations)
        if config.publish is not None:
            publish(run, report)
        return report
