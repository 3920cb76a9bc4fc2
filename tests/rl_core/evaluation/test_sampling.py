from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rl_core.config.evaluation import ProtocolConfig
from rl_core.evaluation.samples import SampleStore
from rl_core.evaluation.sampling import sample_missing
from rl_core.rollout.collect import Limits


def test_every_rank_has_read_the_samples_before_the_first_one_may_remove_them(tmp_path: Path) -> None:
    happened: list[str] = []

    class Store(SampleStore):
        def read(self) -> Any:
            happened.append("read")
            return super().read()

    store = Store(tmp_path, sampler="none", rank=1)
    world: Any = SimpleNamespace(rank=1, size=2, is_first=False, barrier=lambda: happened.append("barrier"))
    engine: Any = SimpleNamespace(ranks_per_engine=1, generate=lambda *_, **__: None)
    assert sample_missing([], ProtocolConfig(), Limits(8, 16), engine, store, {}, world, "evaluate") == {}
    assert happened[-3:] == ["barrier", "read", "barrier"]
