"""An adapter under ZeRO 0 to 3, on one rank and on two: trained alone, sent alone, stored alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rl_core.checkpoint.tensors import stored_tensors
from rl_core.config.training import TrainingConfig
from rl_core.errors import GuardStop
from rl_core.rollout.engine import Sampling
from rl_core.training.batching import MicroBatch
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.reference import AdapterOff, FrozenCopy
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.training.synchronize import synchronize
from rl_core.types import Request
from rl_core.world import World
from tests.rl_core.training.lora_worker import (
    LORA,
    SAVED_AFTER,
    STEPS,
    ZERO_STAGES,
    ZERO_STAGES_OF_TWO_RANKS,
    go_on,
    new_learner,
    new_sampler,
    train,
)
from tests.rl_core.training.tiny_training import ALGORITHM, NUM_SAMPLES, TEMPERATURE, fixed_rollouts, policy, step

REPOSITORY = Path(__file__).resolve().parents[3]
ROUNDING = 2e-5  # relative, of float32 over a few updates: ranks and stages add in another order
TRAINED = [("one", stage) for stage in ZERO_STAGES] + [("two", stage) for stage in ZERO_STAGES_OF_TWO_RANKS]
Reports = dict[str, dict[int, dict[str, Any]]]  # by world, then by ZeRO stage


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in ("one", "two")}


@pytest.fixture(scope="module")
def reports(world: World, folders: dict[str, Path]) -> Reports:
    one = {stage: train(world, stage, folders["one"] / f"zero_{stage}") for stage in ZERO_STAGES}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*launch, "tests.rl_core.training.lora_worker", str(folders["two"])],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    two = json.loads((folders["two"] / "report.json").read_text())
    return {"one": one, "two": {int(stage): report for stage, report in two.items()}}


def batches(learner: Learner) -> list[MicroBatch]:
    trainer = StepTrainer(learner, None, ALGORITHM, num_samples=NUM_SAMPLES, temperature=TEMPERATURE, layout=Layout(64))
    return trainer.updates(samples_of(fixed_rollouts(), NUM_SAMPLES, ALGORITHM))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "zero_stage"), TRAINED)
def test_an_adapter_trains_alike_and_arrives_at_the_sampler_after_every_step(
    reports: Reports, ranks: str, zero_stage: int
) -> None:
    report, expected = reports[ranks][zero_stage], reports["one"][0]["figures"]
    assert len({round(loss, 4) for loss, _ in expected}) == STEPS
    for (loss, norm), (expected_loss, expected_norm) in zip(report["figures"], expected, strict=True):
        assert loss == pytest.approx(expected_loss, rel=ROUNDING, abs=ROUNDING)
        assert norm == pytest.approx(expected_norm, rel=ROUNDING)
    # 1,980 numbers of 4 bytes: 3 x (inputs + outputs) of each of the 14 layers.
    assert report["sent_bytes"] == [7920] * STEPS
    assert report["frozen"], "what is below the adapter has changed"


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "zero_stage"), TRAINED)
def test_a_checkpoint_holds_the_adapter_alone(
    reports: Reports, folders: dict[str, Path], ranks: str, zero_stage: int
) -> None:
    assert reports
    folder = folders[ranks] / f"zero_{zero_stage}"
    weights = stored_tensors(folder / "policy" / "weights")
    assert len(weights) == 28
    assert weights["model.layers.1.mlp.down_proj.lora_A.weight"].size[0] == LORA.rank
    assert len(stored_tensors(folder / "trainer" / "optimizer")) == 56


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "wrote", "reads"), [("one", s, s) for s in ZERO_STAGES] + [("two", 3, 1)])
def test_training_goes_on_from_a_checkpoint(
    reports: Reports, folders: dict[str, Path], world: World, ranks: str, wrote: int, reads: int
) -> None:
    again = go_on(world, reads, folders[ranks] / f"zero_{wrote}")
    expected = reports[ranks][wrote]["figures"][SAVED_AFTER:]
    if ranks == "one":
        assert again == expected, "bit for bit"
    assert torch.allclose(torch.tensor(again), torch.tensor(expected), rtol=ROUNDING)


def test_an_adapter_in_bfloat16_arrives_and_goes_on_bit_for_bit(world: World, tmp_path: Path) -> None:
    report = train(world, 3, tmp_path / "checkpoint", torch.bfloat16)
    assert go_on(world, 3, tmp_path / "checkpoint", torch.bfloat16) == report["figures"][SAVED_AFTER:]
    assert report["sent_bytes"] == [3960] * STEPS


def test_the_sampler_answers_as_the_learner_computes(world: World) -> None:
    learner, sampler = new_learner(world, 1), new_sampler(world)
    step(learner, fixed_rollouts())
    synchronize(learner, sampler, 1)
    (completion,) = sampler.generate([Request((5, 6, 7), 8, seed=1)], Sampling())
    tokens = torch.tensor([[5, 6, 7, *completion.token_ids]])
    with torch.no_grad():
        logprobs = learner.causal_lm(tokens).logits[0, 2:-1].log_softmax(-1)
    own = logprobs.gather(-1, torch.tensor(completion.token_ids).unsqueeze(-1)).squeeze(-1)
    assert completion.logprobs == pytest.approx(own.tolist(), abs=ROUNDING)


def test_an_adapter_that_never_arrives_stops_the_run(world: World) -> None:
    learner, sampler = new_learner(world, 1), new_sampler(world)
    step(learner, fixed_rollouts())
    # It only reads what it is sent.
    sampler.load_weights = lambda weights, _: list(weights)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(GuardStop, match=r"policy version 1: 28 of 55 tensors differ, first .*lora_A\.weight"):
        synchronize(learner, sampler, 1)


def test_a_sampler_on_another_base_stops_the_run(world: World) -> None:
    learner, sampler = new_learner(world, 1), new_sampler(world)
    with torch.no_grad():
        sampler._model.model.norm.weight[3] += 1e-6
    with pytest.raises(GuardStop, match=r"1 of 55 tensors differ, first model\.norm\.weight"):
        synchronize(learner, sampler, 1)


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_the_reference_is_the_policy_before_training_without_a_copy_of_it(world: World, zero_stage: int) -> None:
    learner = new_learner(world, zero_stage)
    given = batches(learner)
    before = AdapterOff(learner).logprobs(given, TEMPERATURE)
    step(learner, fixed_rollouts())
    copy = FrozenCopy(policy(), TrainingConfig(), world).logprobs(given, TEMPERATURE)
    after = AdapterOff(learner).logprobs(given, TEMPERATURE)
    trained = learner.logprobs(given, TEMPERATURE)[0]
    for old, new, own, now in zip(before, after, copy, trained, strict=True):
        assert torch.equal(old, new)
        torch.testing.assert_close(new, own)
        assert not torch.allclose(now, own, atol=1e-3)


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_room_for_gradients_is_for_those_of_the_adapter_alone(world: World, zero_stage: int) -> None:
    assert new_learner(world, zero_stage).engine.optimizer.reduce_bucket_size == 1980
