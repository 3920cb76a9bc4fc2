"""A recipe at toy size: what is kept is equal, what is scaled is said, and what cannot be earned is told."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_core.config import RecipeConfig, check_config, dump_config, load_config
from rl_core.config.comparison import differing
from rl_core.config.rehearsal import Rehearsal, rehearse, split_overrides
from rl_core.config.rewards import RewardConfig
from rl_core.config.toy import LENGTHS, RATES_OF_LENGTH, updates
from rl_core.errors import MistakeError
from rl_core.opening import default_run_dir
from rl_core.rewards import Scorer

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PRESETS = sorted(CONFIGS.glob("*.yaml"))
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)


def recipe(**sections: Any) -> RecipeConfig:
    """One stage of 8,192 tokens with a model of a hub."""
    values = {
        "name": "small",
        "data": {name: {"source": "hub", "repo_id": "a/b", "file": "c.json"} for name in ("train", "test")},
        "policy": {"model_name": "some/model"},
        "stages": [{"name": "a", "steps": 500, "max_response_tokens": 8192}],
        **sections,
    }
    return check_config(values, origin="here")


def changes(rehearsal: Rehearsal) -> dict[str, tuple[str, str, str]]:
    return {change.field: (change.recipe, change.rehearsal, change.why) for change in rehearsal.scaled}


def without_lengths(reward: RewardConfig) -> RewardConfig:
    """A reward without its options that are lengths, or rates of one: those are scaled."""
    scaled = {option for name, option in (*LENGTHS, *RATES_OF_LENGTH) if name == reward.name}
    return reward.model_copy(
        update={"kwargs": {name: value for name, value in reward.kwargs.items() if name not in scaled}}
    )


@EVERY_PRESET
def test_what_is_kept_is_equal(preset: Path) -> None:
    config = load_config(preset)
    toy = rehearse(config).config
    assert [stage.name for stage in toy.stages] == [stage.name for stage in config.stages]
    for own, scaled in zip(config.stages, toy.stages, strict=True):
        without_size = scaled.algorithm.model_copy(update={"minibatch_sequences": own.algorithm.minibatch_sequences})
        assert without_size == own.algorithm
        assert updates(scaled) == updates(own)
        kept_of_rollout = ("num_samples", "temperature")
        assert [getattr(scaled.rollout, name) for name in kept_of_rollout] == [
            getattr(own.rollout, name) for name in kept_of_rollout
        ]
        for name in ("betas", "eps", "weight_decay", "max_grad_norm", "warmup_start_factor"):
            assert getattr(scaled.optimizer, name) == getattr(own.optimizer, name)
    assert [without_lengths(reward) for reward in toy.rewards] == [without_lengths(reward) for reward in config.rewards]
    assert (toy.guard, toy.seed, toy.policy.lora) == (config.guard, config.seed, config.policy.lora)
    assert toy.training.zero_stage == config.training.zero_stage
    assert toy.policy.gradient_checkpointing == config.policy.gradient_checkpointing
    protocol = {"max_new_tokens": 0}
    assert toy.evaluation.protocol.model_copy(update=protocol) == config.evaluation.protocol.model_copy(update=protocol)
    if config.critic is not None and toy.critic is not None:
        rate = {"optimizer": toy.critic.optimizer}
        assert toy.critic == config.critic.model_copy(update=rate)
        assert toy.critic.optimizer.betas == config.critic.optimizer.betas
    assert (toy.critic is None) == (config.critic is None)


@EVERY_PRESET
def test_a_rehearsal_downloads_nothing_needs_no_accelerator_and_is_small(preset: Path) -> None:
    config = load_config(preset)
    toy = rehearse(config).config
    assert toy.policy.model_name == "embedded"
    assert toy.data.train.source == "embedded"
    assert toy.data.test.source in ("embedded", "held_out")
    assert (toy.policy.dtype, toy.training.num_processes) == ("float32", 1)
    assert sum(stage.steps for stage in toy.stages) <= 60
    for own, stage in zip(config.stages, toy.stages, strict=True):
        assert stage.rollout.engine == "transformers"
        fewest = min(200, own.rollout.num_prompts * own.rollout.num_samples)
        assert fewest <= stage.rollout.num_prompts * stage.rollout.num_samples <= 300
        assert stage.context_tokens <= 160
    assert max(stage.max_response_tokens for stage in toy.stages) == 96


@EVERY_PRESET
def test_everything_that_is_scaled_is_said_with_its_reason(preset: Path) -> None:
    config = load_config(preset)
    rehearsal = rehearse(config)
    said = changes(rehearsal)
    assert {field: values[:2] for field, values in said.items()} == differing(config, rehearsal.config)
    assert all(why for _, _, why in said.values())
    assert rehearsal.kept["stages"].startswith(f"name {config.stages[0].name}")


@EVERY_PRESET
def test_a_rehearsal_is_a_recipe_of_its_own_that_says_what_it_is_of(preset: Path, tmp_path: Path) -> None:
    config = load_config(preset)
    toy = rehearse(config).config
    assert default_run_dir(toy) == Path("runs") / f"{preset.stem}-rehearsal"
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(toy), encoding="utf-8")
    assert load_config(file) == toy
    assert toy.rehearses is not None
    assert toy.rehearses.recipe == preset.stem
    with pytest.raises(MistakeError, match=f"is a rehearsal already, of {preset.stem}"):
        rehearse(toy)


def test_the_limits_keep_their_proportions() -> None:
    for name in ("deepscaler_1_5b_nemo", "deepscaler_1_5b_paper"):
        toy = rehearse(load_config(CONFIGS / f"{name}.yaml")).config
        assert [stage.max_response_tokens for stage in toy.stages] == [32, 64, 96]
    four = [{"name": f"{k}k", "steps": 10, "max_response_tokens": k * 1024} for k in (8, 16, 24, 32)]
    assert [stage.max_response_tokens for stage in rehearse(recipe(stages=four)).config.stages] == [24, 48, 72, 96]


def test_rates_keep_their_proportions_and_warm_ups_theirs() -> None:
    toy = rehearse(load_config(CONFIGS / "deepscaler_1_5b_nemo.yaml")).config
    assert [stage.optimizer.learning_rate for stage in toy.stages] == [1e-4, 1e-4, 2.5e-5]
    assert [stage.optimizer.warmup_steps for stage in toy.stages] == [4, 3, 2]


def test_the_embedded_recipe_is_at_toy_size_already() -> None:
    config = load_config()
    toy = rehearse(config).config
    assert (toy.embedded, toy.policy, toy.evaluation) == (config.embedded, config.policy, config.evaluation)
    assert (toy.data.train, toy.data.prompt_template) == (config.data.train, config.data.prompt_template)
    assert [stage.optimizer for stage in toy.stages] == [stage.optimizer for stage in config.stages]


def test_an_engine_and_processes_that_are_asked_for_stay() -> None:
    overrides = ["rollout.engine=vllm", "training.num_processes=2"]
    toy = rehearse(load_config(CONFIGS / "deepscaler_1_5b_nemo.yaml", overrides), overrides).config
    assert {stage.rollout.engine for stage in toy.stages} == {"vllm"}
    assert toy.rollout.engine == "vllm"
    assert toy.training.num_processes == 2
    one = ["stages.1.rollout.engine=vllm"]
    assert rehearse(load_config(overrides=one), one).config.stages[1].rollout.engine == "vllm"
    file_alone = rehearse(load_config(CONFIGS / "ppo_qwen2_5_7b.yaml")).config  # says vllm itself
    assert file_alone.rollout.engine == "transformers"


def test_overrides_of_the_recipe_are_scaled_and_those_of_the_rehearsal_are_not() -> None:
    overrides, own = split_overrides(
        [
            "algorithm.clip_high=0.3",
            "stages.0.steps=1000",
            "rehearsal.stages.0.steps=2",
            "rehearsal.rollout.num_prompts=8",
        ]
    )
    config = load_config(CONFIGS / "deepscaler_1_5b_nemo.yaml", overrides)
    rehearsal = rehearse(config, overrides, own)
    assert [stage.algorithm.clip_high for stage in rehearsal.config.stages] == [0.3, 0.28, 0.28]
    assert [stage.steps for stage in rehearsal.config.stages] == [2, 20, 20]
    assert {stage.rollout.num_prompts for stage in rehearsal.config.stages} == {8}
    assert changes(rehearsal)["stages.*.steps"] == ("1000, 290, 50", "2, 20, 20", "asked for")
    assert changes(rehearsal)["rollout.num_prompts"] == ("128", "8", "asked for")


def test_an_override_of_the_rehearsal_that_cannot_be_is_told_as_of_the_rehearsal() -> None:
    with pytest.raises(
        MistakeError, match=r"the rehearsal of embedded is not a valid recipe:\n  stages.0.step: unknown"
    ):
        rehearse(load_config(), [], ["stages.0.step=2"])


def test_lengths_in_rewards_are_scaled_with_the_limits() -> None:
    rewards = [
        {"name": "math_verify", "weight": 2.0},
        {"name": "overlong_penalty", "weight": 0.5, "kwargs": {"buffer_tokens": 2048, "factor": 0.7}},
        {"name": "shaped", "kwargs": {"free_characters": 1500}},
    ]
    scaled = rehearse(recipe(rewards=rewards)).config.rewards
    assert [(reward.name, reward.weight) for reward in scaled] == [
        ("math_verify", 2.0), ("overlong_penalty", 0.5), ("shaped", 1.0),
    ]  # fmt: skip
    assert scaled[1].kwargs == {"buffer_tokens": 24, "factor": 0.7}  # 2048 of 8192 is a quarter, as 24 of 96
    assert scaled[2].kwargs == {"free_characters": 18, "length_penalty": 8.53}
    short = [{"name": f"{k}k", "steps": 10, "max_response_tokens": k * 1024} for k in (4, 24)]
    by_default = rehearse(recipe(rewards=[{"name": "overlong_penalty"}], stages=short)).config
    assert by_default.rewards[0].kwargs == {"buffer_tokens": 16}
    assert by_default.stages[0].max_response_tokens == 16


@pytest.mark.parametrize(
    ("rewards", "verifier", "answer_format"),
    [
        ([{"name": "boxed"}], "boxed", "boxed"),
        ([{"name": "math_verify"}, {"name": "overlong_penalty"}], "math_verify", "boxed"),
        ([{"name": "deepscaler"}], "boxed", "thought"),
        ([{"name": "boxed"}], "deepscaler", "thought"),
        ([{"name": "deepscaler", "kwargs": {"thought_required": False}}], "boxed", "boxed"),
        ([{"name": "answer_tag"}], "math_verify", "answer_tag"),
        ([{"name": "answer_tag", "kwargs": {"fallback": True}}], "math_verify", "answer_tag"),
        ([{"name": "answer_tag", "kwargs": {"fallback": True}}], "boxed", "boxed"),
    ],
)
def test_the_toy_model_answers_in_a_form_that_the_rewards_and_the_verifier_pay_for(
    rewards: list[dict[str, Any]], verifier: str, answer_format: str
) -> None:
    rehearsal = rehearse(recipe(rewards=rewards, evaluation={"protocol": {"verifier": verifier}}))
    assert rehearsal.config.embedded is not None
    assert rehearsal.config.embedded.answer_format == answer_format
    assert len(rehearsal.expectations) == 1
    from rl_core.embedded.task import Chain

    right = Chain(12, (5, -6)).solution(rehearsal.config.embedded.answer_format)
    for reward in (*rehearsal.config.rewards, RewardConfig(name=rehearsal.config.evaluation.protocol.verifier)):
        if reward.name != "overlong_penalty":
            assert Scorer([reward]).score([right], ["11"], [False], [20], [96])[0].reward == 1.0


def test_what_the_toy_task_cannot_earn_is_told() -> None:
    rewards = [{"name": "deepscaler"}, {"name": "answer_tag"}, {"file": "mine.py", "function": "pays"}]
    rehearsal = rehearse(recipe(rewards=rewards, algorithm={"dynamic_sampling": 4}))
    told = "\n".join(rehearsal.expectations)
    assert "answer_tag is not earned: the other rewards ask for another form of answer (thought)." in told
    assert "pays is a function of yours (mine.py): it sees answers such as `17b-6=11 \\boxed{11}`" in told
    assert "Dynamic sampling draws up to 4 batches a step" in told
    assert rehearsal.config.rewards[2] == recipe(rewards=rewards).rewards[2]


def test_a_learned_reward_model_is_left_out() -> None:
    learned = {"name": "reward_model", "kwargs": {"model": "a/b"}}
    beside = rehearse(recipe(rewards=[learned, {"name": "math_verify", "weight": 0.5}]))
    assert [(reward.name, reward.weight) for reward in beside.config.rewards] == [("math_verify", 0.5)]
    assert "reward_model is left out: a learned model is of another size" in "\n".join(beside.expectations)
    assert [reward.name for reward in rehearse(recipe(rewards=[learned])).config.rewards] == ["boxed"]


def test_as_many_pairs_of_a_problem_are_asked_for_as_its_fewer_responses_give() -> None:
    trained = [{"name": "reward_model", "kwargs": {"model": "trained"}}]
    pairs = {"num_samples": 16, "pairs_per_problem": 8}
    toy = rehearse(recipe(rewards=trained, pairs=pairs, reward_model={})).config
    assert toy.pairs is not None
    assert (toy.pairs.num_samples, toy.pairs.pairs_per_problem) == (4, 2)


def test_settings_of_other_models_and_of_clusters_are_left_behind() -> None:
    policy = {
        "model_name": "some/model", "revision": "v1", "hub": "modelscope", "attention": "flash_attention_2",
        "hf_config_overrides": {"rope_theta": 5}, "lora": {"rank": 256, "alpha": 512, "target_modules": ["qkv_proj"]},
    }  # fmt: skip
    data = {
        "train": {"source": "path", "path": "x.json"}, "test": {"source": "held_out", "fraction": 0.5, "seed": 3},
        "system_prompt": "Think.", "chat_template": "{{ messages }}",
    }  # fmt: skip
    training = {"packing": "packed", "deepspeed": {"zero_optimization": {"offload_param": {"device": "nvme"}}}}
    toy = rehearse(recipe(policy=policy, data=data, training=training)).config
    assert (toy.policy.hub, toy.policy.attention, toy.policy.hf_config_overrides) == ("huggingface", "auto", {})
    assert toy.policy.lora is not None
    assert (toy.policy.lora.rank, toy.policy.lora.alpha, toy.policy.lora.target_modules) == (64, 128, "all-linear")
    assert (toy.data.system_prompt, toy.data.chat_template) == (None, None)
    assert (toy.data.test.source, toy.data.test.seed) == ("held_out", 3)
    assert (toy.training.packing, toy.training.deepspeed) == ("auto", {})


def test_a_critics_own_model_is_left_behind() -> None:
    critic = {"model_name": "some/values", "revision": "v1", "hub": "modelscope"}
    rehearsal = rehearse(recipe(algorithm={"baseline": "critic", "scale": "none"}, critic=critic))
    assert rehearsal.config.critic is not None
    assert rehearsal.config.critic.model_name is None
    scaled = changes(rehearsal)
    assert {name: scaled[f"critic.{name}"][2] for name in critic} == {
        "model_name": "from the policy's own model, as the recipe's is of another size",
        "revision": "of that model", "hub": "of that model",
    }  # fmt: skip


@given(
    prompts=st.integers(1, 600), samples=st.integers(1, 40), cut=st.integers(1, 5000), by_prompt=st.booleans(),
    learned=st.booleans(),
)  # fmt: skip
def test_any_batch_can_be_rehearsed_in_as_many_updates_where_a_toy_batch_allows(
    prompts: int, samples: int, cut: int, by_prompt: bool, learned: bool
) -> None:
    together = samples if by_prompt else 1
    batch = prompts * samples
    divisors = [n for n in range(together, batch + 1, together) if batch % n == 0]
    algorithm: dict[str, Any] = {"minibatch_sequences": divisors[cut % len(divisors)]}
    if by_prompt:
        algorithm["aggregation"] = "prompt_mean_token_mean"
    learned = learned or samples == 1  # which leaves nothing to compare in a group
    if learned:
        algorithm |= {"baseline": "critic", "scale": "none"}
    config = recipe(
        rollout={"num_prompts": prompts, "num_samples": samples}, algorithm=algorithm, critic={} if learned else None
    )
    own, toy = config.stages[0], rehearse(config).config.stages[0]
    assert toy.rollout.num_prompts * toy.rollout.num_samples <= max(2 * 256, 2 * samples)
    if updates(own) <= 8:
        assert updates(toy) == updates(own) or toy.algorithm.minibatch_sequences == together
