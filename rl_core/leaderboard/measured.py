"""The results of evaluations as the leaderboard reads them; what cannot be read is named and left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rl_core.leaderboard.models import Model, Series
from rl_core.manifest import digest_of, read_json
from rl_core.report.facts import Interval


@dataclass(frozen=True, slots=True)
class Measured:
    """One model under one protocol on one benchmark."""

    series: str
    model: Model
    file: Path
    model_digest: str
    benchmark: str
    dataset_digest: str
    protocol: Mapping[str, Any]
    evaluated_at: datetime  # when its file was written, to the second
    num_problems: int
    pass_at_1: Interval
    response_tokens_mean: float
    truncated_fraction: float
    no_answer_fraction: float
    unscored_count: int
    problems: Sequence[Mapping[str, Any]]  # index, num_correct, num_scored of each

    @property
    def protocol_digest(self) -> str:
        return digest_of(self.protocol)

    @property
    def asked(self) -> tuple[str, str, str]:
        """What was asked and how: only evaluations that share this can be compared."""
        return self.benchmark, self.dataset_digest, self.protocol_digest


def read_measured(series: Series, left_out: list[str]) -> Iterator[Measured]:
    """Every evaluation of the models of a series, in their order; what cannot be read is added to `left_out`."""
    for model in series.models:
        for file in model.evaluations:
            try:
                yield _parse(series.name, model, file, read_json(file))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                left_out.append(f"{series.name}: {file.relative_to(series.root)} cannot be read ({reason})")


def _parse(series: str, model: Model, file: Path, results: Mapping[str, Any]) -> Measured:
    if results["pass_at_1"]["value"] is None:
        raise ValueError("no response was scored")
    return Measured(
        series=series,
        model=model,
        file=file,
        model_digest=str(results["model_digest"]),
        benchmark=str(results["benchmark"]),
        dataset_digest=str(results["dataset_digest"]),
        protocol=results["protocol"],
        evaluated_at=datetime.fromtimestamp(int(file.stat().st_mtime), UTC),
        num_problems=int(results["num_problems"]),
        pass_at_1=Interval(**results["pass_at_1"]),
        response_tokens_mean=float(results["response_tokens_mean"]),
        truncated_fraction=float(results["truncated_fraction"]),
        no_answer_fraction=float(results["no_answer_fraction"]),
        unscored_count=int(results["unscored_count"]),
        problems=results["problems"],
    )
