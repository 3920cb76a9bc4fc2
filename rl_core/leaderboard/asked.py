"""What a pass asks of the models of a series: the benchmark, and the protocol by its digest."""

from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.leaderboard.models import Series
from rl_core.manifest import digest_of


def asked_of(config: ReevaluationConfig, series: Series) -> tuple[str, str]:
    """Benchmark and digest of the protocol."""
    assert series.run is not None
    return series.run.config.evaluation.benchmark, digest_of(series.run.protocol)
