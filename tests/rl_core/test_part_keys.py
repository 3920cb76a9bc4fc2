"""Which settings each part of a run depends on: all that decide its content, and no other."""

from pathlib import Path

import pytest

from rl_core.config import EMBEDDED_PRESET, load_config
from rl_core.errors import MistakeError
from rl_core.manifest import publishing
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir

PARTS = ("sources", "data", "base", "stage 0", "hf 0", "stage 1", "hf 1", "stage 2", "hf 2")
ALL = set(PARTS)
FROM_DATA, FROM_BASE, FROM_STAGE_0, FROM_STAGE_1 = (set(PARTS[start:]) for start in (1, 2, 3, 5))

# What changes with each setting. A stage's conversion is the first policy of the next.
TABLE: dict[str, set[str]] = {
    "name=other": set(),
    "seed=1": ALL,
    "data.train.max_rows=100": ALL,
    "data.test={source: held_out, fraction: 0.2}": ALL,
    "data.prompt_template=Q {problem}": FROM_DATA,
    "data.system_prompt=Be brief": FROM_DATA,
    "data.chat_template='{{ messages[0].content }}'": FROM_BASE,
    "data.probe_problems=9": FROM_DATA,
    "embedded.test_problems=99": ALL,
    "embedded.mixed_steps=7": ALL,
    "policy.dtype=auto": FROM_BASE,
    "policy.hf_config_overrides={a: 1}": FROM_BASE,
    "rewards=[{name: boxed, weight: 2.0}]": FROM_STAGE_0,
    "rewards=[{name: reward_model, kwargs: {model: org/judge}}]": FROM_STAGE_0,
    "rollout.temperature=0.9": FROM_STAGE_0,
    "algorithm.clip_high=0.28": FROM_STAGE_0,
    "algorithm.old_logprobs=sampler": FROM_STAGE_0,
    "algorithm.correction={weight: token}": FROM_STAGE_0,
    "optimizer.learning_rate=2e-4": FROM_STAGE_0,
    "stages.0.steps=26": FROM_STAGE_0,
    "stages.1.max_response_tokens=60": FROM_STAGE_1,
    "stages.1.optimizer={eps: 1e-6}": FROM_STAGE_1,
    "stages.2.name=last": {"stage 2", "hf 2"},
    "checkpoint.export_dtype=bfloat16": {"hf 0", *FROM_STAGE_1},
    "checkpoint.max_shard_bytes=5000000": {"hf 0", *FROM_STAGE_1},
    "checkpoint.every_steps=3": set(),
    "checkpoint.keep_last=9": set(),
    "training.zero_stage=3": set(),
    "training.num_processes=2": set(),
    "training.micro_batch_tokens=999": set(),
    "validation.every_steps=3": set(),
    "validation.num_samples=3": set(),
    "evaluation.protocol.num_samples=4": set(),
    "guard.max_sampler_kl=null": set(),
    "tracking.wandb=disabled": set(),
}


def run_of(*overrides: str, root: Path = Path("run")) -> RunDir:
    return RunDir(root, load_config(overrides=overrides))


def keys(run: RunDir) -> dict[str, str]:
    stages = {f"stage {n}": run.keys.stage(n) for n in range(3)} | {f"hf {n}": run.keys.hf(n) for n in range(3)}
    return {"sources": run.keys.sources(), "data": run.keys.data(), "base": run.keys.base(), **stages}


@pytest.mark.parametrize("override", TABLE)
def test_a_setting_changes_the_parts_that_it_decides_and_no_other(override: str) -> None:
    before, after = keys(run_of()), keys(run_of(override))
    assert {part for part in PARTS if before[part] != after[part]} == TABLE[override]
    assert run_of().keys.recipe() != run_of(override).keys.recipe()


def test_every_part_has_a_key_of_its_own_wherever_the_run_is() -> None:
    assert len(set(keys(run_of()).values())) == len(PARTS)
    assert keys(run_of(root=Path("elsewhere"))) == keys(run_of())


def test_a_part_is_finished_under_its_own_key_only(tmp_path: Path) -> None:
    assert finished_part(tmp_path / "part", "key") is None
    with publishing(tmp_path / "part", key="key") as partial:
        (partial / "file").write_text("content")
    assert finished_part(tmp_path / "part", "key") is not None
    with pytest.raises(MistakeError, match=r"was made with other settings \(digest key, now another\)"):
        finished_part(tmp_path / "part", "another")


# Digest of the recipe, and keys of its data, base model, first stage and last converted model, as they were before
# recipes could fine-tune and train reward models. A run that stands on somebody's disk goes on under them.
PINNED = {
    "cpgd_qwen2_5_7b": ("efbb0dbd5a0f38b3", "825e4648fd0cb15a", "df5951d614b795d3", "0f0d2190d349f1d9"),
    "deepscaler_1_5b_nemo": ("8b250f2b9fcd41cb", "1fbe9c90e396beb4", "b9ad8500f3592dae", "2cb018c83346f9b0"),
    "deepscaler_1_5b_paper": ("27ae4163820ef0ae", "8e9454d8faacf6ef", "69a94c045ec51d45", "ffee47a4fad59cad"),
    "embedded": ("57c34ed17c612dbe", "9de66e2242a1878d", "e28084a255370e2d", "98df0c6a347bd33f"),
    "grpo_lora_qwen3_4b": ("e4d903a60865ac96", "5d080d27ee86de8c", "e8becdc22aeacf5d", "a75e437096d72d00"),
    "ppo_qwen2_5_7b": ("efbb0dbd5a0f38b3", "825e4648fd0cb15a", "8aa71afb4eaaf949", "bb34e8290012b18c"),
}


@pytest.mark.parametrize("preset", PINNED)
def test_what_a_recipe_does_not_have_changes_none_of_its_keys(preset: str) -> None:
    then = ["data.system_prompt=null"]  # which two presets have named since
    run = RunDir(Path("run"), load_config(EMBEDDED_PRESET.parent / f"{preset}.yaml", then))
    last = run.keys.hf(len(run.config.stages) - 1)
    assert (run.keys.data(), run.keys.base(), run.keys.stage(0), last) == PINNED[preset]
