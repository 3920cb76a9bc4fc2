"""Evaluate again: every checkpoint under a folder of runs that was not asked yet, and what became worse.

    python -m flows.reevaluate [--config FILE] [--runs DIR] [--fail-on-regression] [--plan] [key=value ...]

Each model is evaluated once, whoever asks first; what is there is not asked again. So a pass that was stopped is
finished by running it again, and a pass on a schedule costs what appeared since the last one.
"""

if __name__ == "__main__":  # before Prefect is imported: --help and --plan answer at once, and our server comes first
    import sys

    from flows.reevaluate_command import main

    sys.exit(main())

from pathlib import Path

from prefect import flow

from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.errors import GuardStop
from rl_core.leaderboard.alarms import mark_told
from rl_core.leaderboard.passes import left_to_do, open_pass
from tasks.alarm import emit_regressions
from tasks.failures import Failures
from tasks.reevaluation import evaluate_model, resolve_revisions, write_leaderboard


@flow(name="reevaluate", flow_run_name="{config.title}", log_prints=False, persist_result=False)
def reevaluate(config: ReevaluationConfig, runs: Path | None = None) -> Path:
    """Evaluate what was not evaluated yet, write the leaderboard, and raise the alarm over what became worse.

    Args:
        config: which models, asked what, and when to raise an alarm.
        runs: the folder of runs; by default the configuration's.
    """
    with open_pass(config, runs) as files:
        failures = Failures()
        if config.hub_models:
            with failures.of("the hubs"):
                resolve_revisions(files)
        for series, model in left_to_do(files, config):
            with failures.of(f"{series.name}: {model.name}"):
                evaluate_model(files, series, model, config)
        alarms = write_leaderboard(files)
        untold = [alarm for alarm in alarms if not alarm.told]
        mark_told(files.alarms, emit_regressions(untold) if config.alarm.emit_event else untold)
        standing = [alarm for alarm in alarms if alarm.stands]
        if standing and config.alarm.fail:
            told = [f"{len(standing)} became worse:", *[f"  {alarm.sentence}" for alarm in standing], failures.told]
            raise GuardStop("\n".join(told).strip())
        failures.raise_any()
        return files.page
