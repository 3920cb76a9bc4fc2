"""`--rehearse`: a recipe at toy size, for a CPU and a few minutes. Pure: from a recipe to a recipe and what was scaled.

The stages, their names and order, the algorithm, rewards, critic, adapter, guard and promotion stay; the model, the
data, and every number that is a size, an amount or a rate is scaled to the embedded task. `toy` has the numbers.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rl_core.config import toy
from rl_core.config.comparison import differing, kept
from rl_core.config.load import apply_override, check_config
from rl_core.config.recipe import INHERITED_BY_STAGES, RecipeConfig
from rl_core.config.rehearses import RehearsesConfig, ScaledSetting
from rl_core.config.rewards import RewardConfig
from rl_core.errors import MistakeError

ASKED_FOR = "asked for"
PREFIX = "rehearsal."
OF_A_STAGE = re.compile(r"^stages\.\d+\.")
# The first that a field begins with says why it is scaled.
REASONS = {
    "data.train": "the task that the project makes itself: nothing is downloaded",
    "data.test": "the same",
    "data.probe_problems": "for time",
    "data.": "a toy token is a character of other text: the prompt would be longer than the answer",
    "embedded": "that task and its model, in the form of answers that the rewards look for",
    "policy.dtype": "of a CPU",
    "policy.attention": "of a CPU",
    "policy.lora.folder": "of another size than the toy model",
    "policy.lora.start": "without that adapter there is none to go on with",
    "policy.lora": "within the toy model's width, at the same scale; layers by names that it has",
    "policy.": "half a million parameters, made here",
    "sft.data": "the task's own traces, right ones and wrong ones",
    "sft.max_tokens": f"{toy.PROMPT_TOKENS} of a prompt and {toy.LONGEST_RESPONSE} of an answer",
    "sft.lora": "as the policy's",
    "sft.optimizer": "the toy model learns at this rate",
    "sft.max_steps": "so few that the stages have something to learn",
    "sft.": "for its fewer steps",
    "pairs.max_new_tokens": "as long as the longest stage's",
    "pairs.held_out_fraction": "so that the reward model's accuracy can be told from chance",
    "pairs.": "of the embedded task's problems, for time",
    "reward_model.lora": "as the policy's",
    "reward_model.optimizer": "the toy model learns at this rate",
    "reward_model.": f"{toy.PROMPT_TOKENS} of a prompt and {toy.LONGEST_RESPONSE} of an answer",
    "critic.model_name": "from the policy's own model, as the recipe's is of another size",
    "critic.revision": "of that model",
    "critic.hub": "of that model",
    "critic.warmup_steps": "in proportion to the steps",
    "critic.lora": "as the policy's",
    "critic.optimizer.warmup_steps": "in proportion to the steps",
    "critic.optimizer": "the toy critic learns at this rate",
    "rewards": "lengths in proportion to the limits; a learned model is left out",
    "rollout.num_prompts": f"for about {toy.RESPONSES} responses a step",
    "rollout.engine": "exact and quick to start at this size; ask for another: rollout.engine=vllm",
    "rollout.vllm": "of vLLM on accelerators",
    "algorithm.minibatch_sequences": "as many updates a step as the recipe has",
    "optimizer.learning_rate": "the toy model learns at this rate; stages in proportion",
    "optimizer.warmup_steps": "in proportion to the steps",
    "training.": "of a CPU",
    "checkpoint.": "for its fewer steps",
    "validation.": "for time",
    "evaluation.protocol.max_new_tokens": "in proportion to the limits",
    "evaluation.protocol.num_samples": "for time",
    "evaluation.protocol.": "a toy token is a character of other text",
    "evaluation.": "the toy task's own problems: nothing is downloaded",
    "tracking.": "a rehearsal is not uploaded",
    "publish": "a toy model is not published",
    "report.": "of the recipe's devices, which a rehearsal does not use",
    "stages.*.steps": "for time",
    "stages.*.": f"in proportion: {toy.LONGEST_RESPONSE} tokens for the longest stage; a step of a solution takes six",
}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A recipe at toy size."""

    config: RecipeConfig
    kept: dict[str, str]  # by section, what is as in the recipe
    expectations: tuple[str, ...]  # what is to be said of its outcome beforehand, a sentence each

    @property
    def scaled(self) -> tuple[ScaledSetting, ...]:
        assert self.config.rehearses is not None, "what a rehearsal is of is in its configuration"
        return self.config.rehearses.scaled


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of a recipe, and those of its rehearsal itself, `rehearsal.key.path=value`, without that word."""
    of_recipe = [override for override in overrides if not override.startswith(PREFIX)]
    return of_recipe, [override.removeprefix(PREFIX) for override in overrides if override.startswith(PREFIX)]


def rehearse(config: RecipeConfig, overrides: Sequence[str] = (), own: Sequence[str] = ()) -> Rehearsal:
    """`config` at toy size.

    Args:
        overrides: those that made `config` what it is; where they name `rollout.engine` or `training.num_processes`,
            these stay as they are.
        own: of the rehearsal itself, after everything is scaled.

    Raises:
        MistakeError: the recipe is a rehearsal, or an override cannot be.
    """
    if config.rehearses is not None:
        raise MistakeError(f"--rehearse: {config.name} is a rehearsal already, of {config.rehearses.recipe}")
    values = _scaled(config, _names(overrides))
    for override in own:
        for each in _reaching_every_stage(override, len(config.stages)):
            apply_override(values, each)
    scaled = check_config(values, origin=f"the rehearsal of {config.name}")
    changes = tuple(
        ScaledSetting(field=field, recipe=before, rehearsal=after, why=_why(field, own))
        for field, (before, after) in differing(config, scaled).items()
    )
    note = RehearsesConfig(recipe=config.name, scaled=changes)
    return Rehearsal(
        scaled.model_copy(update={"rehearses": note}), _kept(config, scaled), tuple(_expectations(config, scaled))
    )


def _scaled(config: RecipeConfig, asked: Collection[str]) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    stages = [toy.stage(config, index) for index in range(len(config.stages))]
    if "rollout.engine" not in asked:
        for stage in stages:
            stage["rollout"] |= {"engine": "transformers", "vllm": {}}
    return {
        **values,
        "name": f"{config.name}-rehearsal",
        **toy.task_and_model(config),
        "rewards": toy.rewards(config),
        **{name: stages[0][name] for name in ("rollout", "algorithm", "optimizer")},
        "sft": toy.sft(config),
        "pairs": toy.pairs(config),
        "reward_model": toy.reward_model(config),
        "critic": toy.critic(config),
        "training": toy.training(config, keep_processes="training.num_processes" in asked),
        "checkpoint": {**values["checkpoint"], "every_steps": min(config.checkpoint.every_steps, toy.SAVE_STEPS)},
        "validation": toy.validation(config),
        "evaluation": toy.evaluation(config),
        "tracking": toy.tracking(config),
        "publish": None,
        "report": {**values["report"], "price_per_device_hour": None},
        "stages": stages,
    }


def _reaching_every_stage(override: str, num_stages: int) -> list[str]:
    """An override of a section that stages inherit is one of every stage's."""
    if override.partition(".")[0] not in INHERITED_BY_STAGES:
        return [override]
    return [override, *[f"stages.{index}.{override}" for index in range(num_stages)]]


def _why(field: str, own: Sequence[str]) -> str:
    """Why a setting is other than the recipe's."""
    plain = field.removeprefix("stages.*.")
    if any(plain == name or plain.startswith(f"{name}.") or name.startswith(f"{plain}.") for name in _names(own)):
        return ASKED_FOR
    return next(reason for prefix, reason in REASONS.items() if field.startswith(prefix))


def _names(overrides: Sequence[str]) -> frozenset[str]:
    """What overrides name, whichever stage they name it of."""
    return frozenset(OF_A_STAGE.sub("", override.partition("=")[0]) for override in overrides)


def _kept(config: RecipeConfig, scaled: RecipeConfig) -> dict[str, str]:
    """What is as in the recipe, with what is kept by scaling two numbers alike."""
    found = kept(config, scaled)
    before, after = ([toy.updates(stage) for stage in recipe.stages] for recipe in (config, scaled))
    if before == after:
        told = ", ".join(str(number) for number in (before if len(set(before)) > 1 else before[:1]))
        found["algorithm"] = f"{told} updates a step, {found.get('algorithm', '')}".rstrip(", ")
    return found


def _expectations(config: RecipeConfig, scaled: RecipeConfig) -> list[str]:
    answers = scaled.embedded.answer_format if scaled.embedded else "boxed"
    sentences = ["It shows that every part of the recipe works together; what the toy model scores says nothing of it."]
    for reward in config.rewards:
        if reward.file is not None:
            sentences.append(
                f"{reward.name} is a function of yours ({reward.file}): it sees answers such as `17b-6=11 "
                "\\boxed{11}`, and where it pays nothing for them its reward stays flat."
            )
        elif reward.is_reward_model and not reward.is_trained_here:
            sentences.append(f"{reward.name} is left out: a learned model is of another size and another language.")
        elif answers not in toy.forms_that_earn(reward):
            sentences.append(
                f"{reward.name} is not earned: the other rewards ask for another form of answer ({answers})."
            )
    verifier = RewardConfig(name=config.evaluation.protocol.verifier)
    if answers not in toy.forms_that_earn(verifier):
        sentences.append(
            f"The verifier {verifier.name} does not read answers of this form ({answers}): evaluations show 0."
        )
    draws = max((stage.algorithm.dynamic_sampling or 1) for stage in scaled.stages)
    if draws > 1:
        sentences.append(
            f"Dynamic sampling draws up to {draws} batches a step, and the rehearsal may take that longer."
        )
    return sentences
