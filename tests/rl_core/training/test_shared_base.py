"""Four roles on one base: what is frozen stays, and each role is what it is on a model of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from rl_core.models.shared_base import Role
from rl_core.training.figures import Figures
from rl_core.training.samples import samples_of
from rl_core.training.trained_module import TrainedModule
from rl_core.world import World
from tests.rl_core.training.shared_roles import (
    CONVERSATIONS,
    PPO,
    REWARD,
    SAVED_AFTER,
    STEPS,
    ZERO_STAGES,
    Roles,
    ask,
    go_on,
    merged_classifier,
    numbers,
    separate,
    shared,
    step,
    train,
    trainer_of,
    weights_of,
)
from tests.rl_core.training.tiny_training import NUM_SAMPLES, REWARDS, TEMPERATURE, fixed_rollouts

REPOSITORY = Path(__file__).resolve().parents[3]
ROUNDING = 2e-5  # relative, of float32 over a few updates
WEIGHTS = {"rtol": 1e-3, "atol": 1e-4}  # of a weight after AdamW's first updates, which make any gradient one size


@pytest.fixture(scope="module")
def one(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, list[dict[str, Any]]]]:
    """At each ZeRO stage the checkpoint behind the first step, and what every step said."""
    folders = {stage: tmp_path_factory.mktemp("one") / "checkpoint" for stage in ZERO_STAGES}
    return {stage: (folder, train(world, stage, folder)) for stage, folder in folders.items()}


def digests(roles: Roles, *but: Role) -> dict[str, str]:
    """Of every parameter and buffer of the base, its adapters and the reward's head, but of the adapters named."""
    assert roles.base is not None
    assert roles.judge is not None
    model = roles.base.causal_lm
    named: Iterator[tuple[str, torch.Tensor]] = iter(
        [*model.named_parameters(), *model.named_buffers(), ("reward head", roles.judge._head)]
    )
    skipped = tuple(f".{role}.weight" for role in but)
    return {
        f"{name} {tensor.dtype} {tensor.requires_grad}": sha256(tensor.detach().contiguous().view(torch.uint8).numpy())
        .hexdigest()
        for name, tensor in named
        if not name.endswith(skipped)
    }  # fmt: skip


def optimized(module: TrainedModule) -> list[torch.Tensor]:
    """What the module's optimizer steps, before it is flattened."""
    optimizer = module.engine.optimizer
    groups = optimizer.bit16_groups if module.zero_stage else [group["params"] for group in optimizer.param_groups]
    return [parameter for group in groups for parameter in group]


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_each_optimizer_has_its_own_adapter_and_head_and_nothing_else(world: World, zero_stage: int) -> None:
    roles = shared(world, zero_stage)
    assert roles.base is not None
    names = {id(parameter): name for name, parameter in roles.base.causal_lm.named_parameters()}
    for role, module, heads in (("policy", roles.learner, 0), ("value", roles.critic, 2)):
        held = [names.get(id(parameter), "head") for parameter in optimized(module)]
        assert len(held) == len(set(held) - {"head"}) + heads
        assert held.count("head") == heads
        expected = {name for name in names.values() if name.endswith(f".{role}.weight")}
        assert len(expected) == 28
        assert set(held) - {"head"} == expected
        shown = {id(parameter) for parameter in module.engine.module.parameters()}
        assert shown == {id(parameter) for parameter in optimized(module)}, "DeepSpeed is shown what is not its own"


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_nothing_that_is_frozen_changes_in_whole_steps(world: World, zero_stage: int, checkpointing: bool) -> None:
    roles = shared(world, zero_stage, checkpointing=checkpointing)
    before, trained = digests(roles, "policy", "value"), dict(weights_of(roles))
    assert len(before) == 28 + 8 + 26 + 1 + 2  # reference, reward, the base, the head, buffers of rotary embeddings
    for number in range(1, STEPS + 1):
        step(roles, number)
    assert digests(roles, "policy", "value") == before
    same = [name for name, weight in weights_of(roles) if torch.equal(weight, trained[name])]
    assert same == []


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_an_update_of_one_role_leaves_the_other_as_it_is(world: World, zero_stage: int) -> None:
    roles = shared(world, zero_stage)
    trainer, figures = trainer_of(roles), Figures()
    updates = trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO), figures)
    before = digests(roles, "policy")
    trainer.train_policy(updates, figures)
    assert digests(roles, "policy") == before
    before = digests(roles, "value")
    trainer.train_critic(updates, figures)
    assert digests(roles, "value") == before
    assert all(parameter.grad is None for _, parameter in roles.learner.named_parameters())


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_steps_are_those_of_four_models_of_their_own(
    world: World, one: dict[int, tuple[Path, list[dict[str, Any]]]], zero_stage: int
) -> None:
    apart = separate(world, zero_stage)
    for number, told in enumerate(one[zero_stage][1], start=1):
        assert numbers(step(apart, number)) == pytest.approx(numbers(told), rel=1e-3, abs=ROUNDING)
    together = shared(world, zero_stage)
    for number in range(1, STEPS + 1):
        step(together, number)
    expected = dict(weights_of(apart))
    for name, weight in weights_of(together):
        torch.testing.assert_close(weight, expected[name], **WEIGHTS, msg=lambda text, name=name: f"{name}: {text}")


def test_the_scores_are_those_of_the_merged_reward_model(world: World) -> None:
    roles = shared(world, 0)
    model = merged_classifier(REWARD)
    model.config.pad_token_id = 0
    with torch.no_grad():
        expected = [float(model(torch.tensor([tokens])).logits) for tokens in CONVERSATIONS]
    assert ask(roles) == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING)
    step(roles, 1)
    assert ask(roles) == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING)


def test_the_reference_is_the_model_with_the_first_adapter_merged(world: World) -> None:
    roles = shared(world, 1)
    (given, *_) = trainer_of(roles).updates(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO))
    first = roles.learner.logprobs(given, TEMPERATURE)[0]
    step(roles, 1)
    expected = separate(world, 0).reference.logprobs(given, TEMPERATURE)
    for before, after, merged_ in zip(first, roles.reference.logprobs(given, TEMPERATURE), expected, strict=True):
        assert torch.equal(before, after)
        torch.testing.assert_close(after, merged_, rtol=1e-4, atol=1e-5)


def test_without_an_adapter_to_begin_with_the_reference_is_the_base(world: World) -> None:
    roles = shared(world, 1, first=False)
    (given, *_) = trainer_of(roles).updates(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO))
    before = roles.learner.logprobs(given, TEMPERATURE)[0]
    step(roles, 1)
    assert all(map(torch.equal, roles.reference.logprobs(given, TEMPERATURE), before))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_ratio_is_one_in_the_first_update_whoever_was_asked_before(world: World, checkpointing: bool) -> None:
    whole = PPO.model_copy(update={"minibatch_sequences": len(REWARDS), "epochs": 1})
    roles = shared(world, 1, checkpointing=checkpointing)
    trainer, figures = trainer_of(roles, whole), Figures()
    updates = trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, whole), figures)
    ask(roles)
    trainer.train_policy(updates, figures)
    told = figures.over_ranks(world)
    assert (told["kl_old_mean"], told["clip_fraction"]) == (0.0, 0.0)
    assert all(batch.old_logprobs is not None for batch in updates[0])


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_gradient_checkpointing_computes_the_layers_again_under_the_same_adapter(
    world: World, one: dict[int, tuple[Path, list[dict[str, Any]]]], zero_stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles, again = shared(world, zero_stage, checkpointing=True), []
    assert roles.base is not None
    for layer in roles.base.causal_lm.model.layers:
        calls = layer._gradient_checkpointing_func
        monkeypatch.setattr(
            layer, "_gradient_checkpointing_func", lambda *given, calls=calls: again.append(1) or calls(*given)
        )
    for number, told in enumerate(one[zero_stage][1], start=1):
        assert numbers(step(roles, number)) == pytest.approx(numbers(told), rel=ROUNDING, abs=ROUNDING)
    assert again, "nothing was checkpointed"


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_training_goes_on_bit_for_bit(
    world: World, one: dict[int, tuple[Path, list[dict[str, Any]]]], zero_stage: int
) -> None:
    checkpoint, told = one[zero_stage]
    assert go_on(world, zero_stage, checkpoint) == told[SAVED_AFTER:]


def test_training_in_bfloat16_goes_on_bit_for_bit(world: World, tmp_path: Path) -> None:
    told = train(world, 2, tmp_path / "checkpoint", dtype=torch.bfloat16)
    assert go_on(world, 2, tmp_path / "checkpoint", dtype=torch.bfloat16) == told[SAVED_AFTER:]


@pytest.mark.slow
def test_two_ranks_at_every_zero_stage_train_alike(
    world: World, one: dict[int, tuple[Path, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
         "tests.rl_core.training.shared_roles", str(tmp_path)],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    two = json.loads((tmp_path / "report.json").read_text())
    expected = one[0][1]
    for stage in ZERO_STAGES:
        for told, by_two, wanted in zip(one[stage][1], two[str(stage)], expected, strict=True):
            assert numbers(told) == pytest.approx(numbers(wanted), rel=1e-3, abs=ROUNDING)
            assert numbers(by_two) == pytest.approx(numbers(wanted), rel=1e-3, abs=ROUNDING)
