"""One rank and two, ZeRO 0 to 3: the same numbers, the same weights, and checkpoints that any of them reads."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rl_core.checkpoint.convert import convert
from rl_core.checkpoint.probe import last_logits, read_probe
from rl_core.checkpoint.tensors import read_tensors, stored_tensors
from rl_core.manifest import read_manifest
from rl_core.world import World
from tests.rl_core.training import tiny_ppo
from tests.rl_core.training.formulas import TERMS
from tests.rl_core.training.tiny_ppo import Numbers
from tests.rl_core.training.tiny_training import UPDATES_OF_A_STEP, policy
from tests.rl_core.training.zero_worker import (
    HANDOVERS,
    HANDOVERS_OF_PPO,
    SAVED_AFTER,
    STEPS,
    ZERO_STAGES,
    Figures,
    continue_from,
    go_on_by_ppo,
    train_every_stage,
    train_every_stage_by_ppo,
)

REPOSITORY = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
ROUNDING = 2e-5  # relative, of float32 over a few updates: ranks and stages add in another order
WEIGHT_ROUNDING = 1e-4  # absolute, after two updates of 1e-2: AdamW divides small gradients by their own size
PPO_ROUNDING = 2e-3  # of what follows two updates of AdamW
WORLDS = ("one", "two")


@dataclass(frozen=True)
class Runs:
    """What one rank and two have left."""

    figures: dict[str, dict[str, Figures]]  # by world, then by what was run
    ppo: dict[str, dict[str, list[Numbers]]]  # likewise
    folders: dict[str, Path]


@pytest.fixture(scope="module")
def runs(world: World, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One rank trains here; two train under torchrun and go on from what the one saved; then the one from theirs."""
    folders = {name: tmp_path_factory.mktemp(name) for name in WORLDS}
    one = train_every_stage(world, folders["one"])
    ppo = {"one": train_every_stage_by_ppo(world, folders["one"])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*launch, "tests.rl_core.training.zero_worker", str(folders["two"]), str(folders["one"])],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    two = json.loads((folders["two"] / "figures.json").read_text())
    for wrote, reads in HANDOVERS:
        one[f"from {wrote} to {reads}"] = continue_from(world, folders["two"] / f"zero_{wrote}", reads)
    ppo["two"] = json.loads((folders["two"] / "ppo.json").read_text())
    ppo["one"] |= go_on_by_ppo(world, folders["two"])
    return Runs({"one": one, "two": two}, ppo, folders)


def assert_equal_but_for_rounding(got: Figures, expected: Figures) -> None:
    assert len(got) == len(expected)
    for (loss, norm), (expected_loss, expected_norm) in zip(got, expected, strict=True):
        assert loss == pytest.approx(expected_loss, rel=ROUNDING, abs=ROUNDING)
        assert norm == pytest.approx(expected_norm, rel=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", WORLDS)
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_losses_and_gradient_norms_are_those_of_one_rank_without_zero(runs: Runs, ranks: str, zero_stage: int) -> None:
    expected = runs.figures["one"]["zero 0"]
    assert len(expected) == STEPS
    assert len({round(loss, 4) for loss, _ in expected}) == STEPS
    assert_equal_but_for_rounding(runs.figures[ranks][f"zero {zero_stage}"], expected)


def test_on_two_ranks_every_gradient_is_that_of_the_formulas_for_every_term_of_the_loss(runs: Runs) -> None:
    compared = json.loads((runs.folders["two"] / "compared.json").read_text())  # a difference ends the worker
    assert compared == len(ZERO_STAGES) * len(TERMS)


def assert_equal_numbers(got: list[Numbers], expected: list[Numbers]) -> None:
    assert len(got) == len(expected)
    for numbers, wanted in zip(got, expected, strict=True):
        assert numbers.keys() == wanted.keys()
        for name, values in wanted.items():
            assert numbers[name] == pytest.approx(values, rel=PPO_ROUNDING, abs=PPO_ROUNDING), name


@pytest.mark.parametrize("ranks", WORLDS)
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_policy_and_critic_of_ppo_are_those_of_one_rank_without_zero(runs: Runs, ranks: str, zero_stage: int) -> None:
    expected = runs.ppo["one"]["zero 0"]
    assert len(expected) == tiny_ppo.STEPS
    assert all(len(set(numbers["values"])) > 1 for numbers in expected)
    assert_equal_numbers(runs.ppo[ranks][f"zero {zero_stage}"], expected)


@pytest.mark.parametrize("ranks", WORLDS)
@pytest.mark.parametrize(("wrote", "reads"), HANDOVERS_OF_PPO)
def test_what_one_world_saved_of_ppo_another_goes_on_from(runs: Runs, ranks: str, wrote: int, reads: int) -> None:
    expected = runs.ppo["one"]["zero 0"][tiny_ppo.SAVED_AFTER :]
    assert_equal_numbers(runs.ppo[ranks][f"from {wrote} to {reads}"], expected)


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_the_same_world_goes_on_with_ppo_bit_for_bit(runs: Runs, world: World, zero_stage: int) -> None:
    again = tiny_ppo.continue_by_ppo(world, zero_stage, runs.folders["one"] / f"ppo_{zero_stage}")
    assert again == runs.ppo["one"][f"zero {zero_stage}"][tiny_ppo.SAVED_AFTER :]


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_what_is_not_finite_on_one_rank_is_left_out_on_both(runs: Runs, zero_stage: int) -> None:
    found = json.loads((runs.folders["two"] / "left_out.json").read_text())[str(zero_stage)]
    assert sorted(found["spoilt"]) == [False, True]
    assert found["left out"] == [1, 1]
    assert found["unchanged"] == [True, True]
    undisturbed = runs.figures["one"]["zero 0"][: len(found["figures"])]
    assert_equal_but_for_rounding([tuple(numbers) for numbers in found["figures"]], undisturbed)


@pytest.mark.parametrize("ranks", WORLDS)
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_every_parameter_and_moment_is_stored_under_its_own_name_with_the_same_values(
    runs: Runs, ranks: str, zero_stage: int
) -> None:
    folder, expected = runs.folders[ranks] / f"zero_{zero_stage}", runs.folders["one"] / "zero_0"
    shapes = {name: parameter.shape for name, parameter in policy().named_parameters()}
    weights = stored_tensors(folder / "policy" / "weights")
    assert {name: entry.size for name, entry in weights.items()} == shapes
    assert {entry.properties.dtype for entry in weights.values()} == {torch.float32}
    moments = stored_tensors(folder / "trainer" / "optimizer")
    assert {name: entry.size for name, entry in moments.items()} == {
        f"{moment}.{name}": shape for name, shape in shapes.items() for moment in ("exp_avg", "exp_avg_sq")
    }
    for part in ("policy/weights", "trainer/optimizer"):
        wanted = dict(read_tensors(expected / part))
        for name, value in read_tensors(folder / part):
            torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=WEIGHT_ROUNDING, msg=name)
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest["zero_stage"], manifest["world_size"]) == (zero_stage, {"one": 1, "two": 2}[ranks])
    assert json.loads((folder / "trainer" / "state.json").read_text()) == {
        "step": SAVED_AFTER,
        "optimizer_steps": SAVED_AFTER * UPDATES_OF_A_STEP,
    }


@pytest.mark.parametrize("ranks", WORLDS)
@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_each_checkpoint_converts_to_the_model_that_was_trained(
    runs: Runs, ranks: str, zero_stage: int, tmp_path: Path
) -> None:
    policy_folder = runs.folders[ranks] / f"zero_{zero_stage}" / "policy"
    verified = convert(
        policy_folder / "weights", tmp_path, model_files=policy_folder, dtype=torch.float32, max_shard_bytes=10**9
    )
    assert verified["tensors_equal"] == len(list(policy().named_parameters()))
    assert verified["logits_max_difference"] < 1e-5
    probe = read_probe(runs.folders["one"] / "zero_0" / "policy")
    assert probe is not None
    prompts, expected = probe
    converted = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    logits = last_logits(converted, prompts, CPU)
    assert float((logits - expected).abs().max() / expected.abs().max()) < 1e-3
    assert float((logits - last_logits(policy(), prompts, CPU)).abs().max() / expected.abs().max()) > 1e-2


@pytest.mark.parametrize(("wrote", "reads"), HANDOVERS)
@pytest.mark.parametrize("ranks", WORLDS)
def test_what_one_world_saved_another_goes_on_from_as_if_undisturbed(
    runs: Runs, ranks: str, wrote: int, reads: int
) -> None:
    assert_equal_but_for_rounding(
        runs.figures[ranks][f"from {wrote} to {reads}"], runs.figures["one"]["zero 0"][SAVED_AFTER:]
    )


@pytest.mark.parametrize("zero_stage", ZERO_STAGES)
def test_the_same_world_goes_on_bit_for_bit(runs: Runs, world: World, zero_stage: int) -> None:
    again = continue_from(world, runs.folders["one"] / f"zero_{zero_stage}", zero_stage)
    assert again == runs.figures["one"][f"zero {zero_stage}"][SAVED_AFTER:]


def test_a_policy_in_bfloat16_goes_on_bit_for_bit_from_its_float32_weights(world: World, tmp_path: Path) -> None:
    figures = train_every_stage(world, tmp_path, ZERO_STAGES[1:], torch.bfloat16)
    for zero_stage in ZERO_STAGES[1:]:
        stored = stored_tensors(tmp_path / f"zero_{zero_stage}" / "policy" / "weights")
        assert {entry.properties.dtype for entry in stored.values()} == {torch.float32}
        again = continue_from(world, tmp_path / f"zero_{zero_stage}", zero_stage, torch.bfloat16)
        assert again == figures[f"zero {zero_stage}"][SAVED_AFTER:], zero_stage


def test_a_rank_that_cannot_write_its_part_stops_every_rank_and_nothing_is_published(runs: Runs) -> None:
    told = json.loads((runs.folders["two"] / "told.json").read_text())
    assert len(told) == 2
    assert all("first could not be written (rank 1: " in message for message in told)
    assert [path.name for path in (runs.folders["two"] / "failed").iterdir()] == ["first.partial"]
    assert not (runs.folders["two"] / "failed" / "first.partial" / "manifest.json").exists()
