"""The sizes, amounts and rates of a rehearsal: each section of a recipe, scaled to the embedded task.

The numbers are such that a rehearsal takes some four minutes on two CPU cores, as the embedded recipe does. Where a
recipe is at toy size already (`configs/embedded.yaml`), what it says of task, model and rates stays.
"""

from typing import Any

from rl_core.config.embedded import AnswerFormat
from rl_core.config.models import LoraConfig
from rl_core.config.recipe import RecipeConfig
from rl_core.config.rewards import OVERLONG_BUFFER_TOKENS, RewardConfig
from rl_core.config.stage import StageConfig
from rl_core.evaluation.benchmarks import OF_THE_RUN

LONGEST_RESPONSE = 96  # fits every solution of the embedded task; two thirds fit nine in ten, a third six in ten
SHORTEST_RESPONSE = 16
PROMPT_TOKENS = 64
LONGEST_EVALUATION = 128  # with a prompt within the model's 256 tokens
RESPONSES = 256  # a step
STEPS, MAX_STAGE_STEPS = 60, 40  # of all stages together, and of one
STEPS_BEHIND_OTHERS = 24  # of all stages, where fine-tuning or a reward model take their time before them
SAVE_STEPS = 10
MICRO_BATCH_TOKENS = 8192
TRAIN_PROBLEMS, MIN_TEST_PROBLEMS, MAX_TEST_PROBLEMS = 4000, 64, 256
EVALUATED_RESPONSES = 2048  # of one model
PROBE_PROBLEMS = VALIDATION_PROBLEMS = 64
VALIDATION_SAMPLES, PROTOCOL_SAMPLES = 2, 16
POLICY_RATE, ADAPTER_RATE, CRITIC_RATE = 1e-4, 1e-3, 1e-3  # at which models of this size learn within such few steps
SFT_STEPS, SFT_ROWS, SFT_VALIDATION_ROWS = 16, 32, 64  # of the fine-tuning: it must leave stages something to learn
PAIR_PROBLEMS, PAIR_SAMPLES, REWARD_MODEL_EPOCHS = 800, 4, 2
PAIRS_HELD_OUT = 0.25  # share of those problems, so that the reward model's accuracy can be told from chance
LORA_RANK = 64  # half of the model's width
LAYERS = frozenset("q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split())  # of the embedded model
# Options of rewards that are lengths, by what a rehearsal's share of the recipe's tokens does to them.
LENGTHS = {("overlong_penalty", "buffer_tokens"): OVERLONG_BUFFER_TOKENS, ("shaped", "free_characters"): 1000}
RATES_OF_LENGTH = {("shaped", "length_penalty"): 0.1}


def is_toy(config: RecipeConfig) -> bool:
    """Whether the recipe is of the embedded model and task already."""
    return config.policy.model_name == "embedded" and config.data.train.source == "embedded"


def updates(stage: StageConfig) -> int:
    """Optimizer updates of one pass over a step's responses."""
    return stage.rollout.num_prompts * stage.rollout.num_samples // stage.algorithm.minibatch_sequences


def stage(config: RecipeConfig, index: int) -> dict[str, Any]:
    """A stage with its limits, steps, batch and rates."""
    own = config.stages[index]
    values = own.model_dump(mode="json")
    prompts, minibatch = _batch(own)
    values |= {"steps": _steps(config, index)}
    if not is_toy(config):
        response = max(SHORTEST_RESPONSE, round(own.max_response_tokens * _share(config)))
        total = None if own.max_total_tokens is None else PROMPT_TOKENS + response
        values |= {"max_prompt_tokens": PROMPT_TOKENS, "max_response_tokens": response, "max_total_tokens": total}
    values["rollout"] |= {"num_prompts": prompts}
    values["rollout"]["vllm"] |= {"tensor_parallel_size": 1, "engine_args": {}}
    values["algorithm"] |= {"minibatch_sequences": minibatch}
    values["optimizer"] |= {
        "learning_rate": _policy_rate(config, own),
        "warmup_steps": _in_proportion(own.optimizer.warmup_steps, config, index),
    }
    return values


def task_and_model(config: RecipeConfig) -> dict[str, Any]:
    """Data, task and policy."""
    data, policy = config.data.model_dump(mode="json"), config.policy.model_dump(mode="json")
    data["probe_problems"] = min(config.data.probe_problems, PROBE_PROBLEMS)
    policy |= {"dtype": "float32", "lora": _policy_lora(config)}
    if config.policy.attention == "flash_attention_2":
        policy["attention"] = "auto"
    if is_toy(config):
        assert config.embedded is not None, "the schema asks for it"
        return {"data": data, "policy": policy, "embedded": config.embedded.model_dump(mode="json")}
    tested = min(MAX_TEST_PROBLEMS, max(MIN_TEST_PROBLEMS, EVALUATED_RESPONSES // _protocol_samples(config)))
    test: dict[str, Any] = {"source": "embedded"}
    if config.data.test.source == "held_out":
        test = {"source": "held_out", "fraction": tested / TRAIN_PROBLEMS, "seed": config.data.test.seed}
    data |= {"train": {"source": "embedded"}, "test": test}
    data |= {"prompt_template": "{problem}", "system_prompt": None, "chat_template": None}
    policy |= {"model_name": "embedded", "revision": "main", "hub": "huggingface", "hf_config_overrides": {}}
    embedded = {
        "train_problems": TRAIN_PROBLEMS,
        "test_problems": tested,
        "answer_format": answer_format(config),
    }
    return {"data": data, "policy": policy, "embedded": embedded}


def rewards(config: RecipeConfig) -> list[dict[str, Any]]:
    """The same rewards with the same weights; lengths in proportion, a learned model of another run left out."""
    usable = [reward for reward in config.rewards if reward.is_trained_here or not reward.is_reward_model]
    return [_reward(config, reward) for reward in usable or [RewardConfig(name="boxed")]]


def sft(config: RecipeConfig) -> dict[str, Any] | None:
    """Fine-tuning on the embedded task's own traces."""
    if config.sft is None:
        return None
    values = config.sft.model_dump(mode="json")
    if not is_toy(config):
        values |= {"data": {"source": "embedded"}, "max_tokens": PROMPT_TOKENS + LONGEST_RESPONSE}
        values["optimizer"] |= {"learning_rate": ADAPTER_RATE if config.sft.lora else POLICY_RATE}
    return values | {
        "lora": _lora(config.sft.lora),
        "batch_sequences": min(config.sft.batch_sequences, SFT_ROWS),
        "max_steps": min(config.sft.max_steps or SFT_STEPS, SFT_STEPS),
        "validation_rows": min(config.sft.validation_rows, SFT_VALIDATION_ROWS),
        "validation_every_steps": min(config.sft.validation_every_steps, SFT_STEPS // 2),
    }


def pairs(config: RecipeConfig) -> dict[str, Any] | None:
    """Pairs of the embedded task, from some of its training problems."""
    if config.pairs is None:
        return None
    values = config.pairs.model_dump(mode="json")
    if not is_toy(config):
        values |= {"first_row": 0, "max_new_tokens": LONGEST_RESPONSE}
    samples = min(config.pairs.num_samples, PAIR_SAMPLES)
    return values | {
        "num_rows": min(config.pairs.num_rows, PAIR_PROBLEMS),
        "num_samples": samples,
        "pairs_per_problem": min(config.pairs.pairs_per_problem, samples // 2),
        "held_out_fraction": max(config.pairs.held_out_fraction, PAIRS_HELD_OUT),
    }


def reward_model(config: RecipeConfig) -> dict[str, Any] | None:
    """The reward model, from the toy policy."""
    if config.reward_model is None:
        return None
    values = config.reward_model.model_dump(mode="json")
    if not is_toy(config):
        values["max_tokens"] = PROMPT_TOKENS + LONGEST_RESPONSE
        values["optimizer"] |= {"learning_rate": ADAPTER_RATE if config.reward_model.lora else POLICY_RATE}
    return values | {
        "lora": _lora(config.reward_model.lora),
        "epochs": min(config.reward_model.epochs, REWARD_MODEL_EPOCHS),
    }


def critic(config: RecipeConfig) -> dict[str, Any] | None:
    """The value model, from the policy's own."""
    if config.critic is None:
        return None
    values = config.critic.model_dump(mode="json")
    rate = config.critic.optimizer.learning_rate if is_toy(config) else CRITIC_RATE
    if config.critic.backbone != "policy_hidden":  # whose head the policy's optimizer trains
        values["optimizer"] |= {
            "learning_rate": rate,
            "warmup_steps": _in_proportion(config.critic.optimizer.warmup_steps, config, 0),
        }
    return values | {
        **{"model_name": None, "revision": "main", "hub": "huggingface"},
        "lora": _lora(config.critic.lora),
        "warmup_steps": _in_proportion(config.critic.warmup_steps, config, 0),
    }


def training(config: RecipeConfig, *, keep_processes: bool) -> dict[str, Any]:
    """The layout: one process, the recipe's ZeRO stage."""
    values = config.training.model_dump(mode="json")
    values |= {"packing": "auto", "deepspeed": {}}
    values["micro_batch_tokens"] = min(config.training.micro_batch_tokens, MICRO_BATCH_TOKENS)
    return values if keep_processes else {**values, "num_processes": 1}


def validation(config: RecipeConfig) -> dict[str, Any]:
    """Validation twice a stage besides before and after it, on fewer problems."""
    values = config.validation.model_dump(mode="json")
    longest = max(_steps(config, index) for index in range(len(config.stages)))
    return values | {
        "every_steps": min(config.validation.every_steps, max(1, longest // 2)),
        "num_problems": min(config.validation.num_problems or VALIDATION_PROBLEMS, VALIDATION_PROBLEMS),
        "num_samples": min(config.validation.num_samples, VALIDATION_SAMPLES),
    }


def evaluation(config: RecipeConfig) -> dict[str, Any]:
    """The same protocol within the toy model's context."""
    values = config.evaluation.model_dump(mode="json")
    values["protocol"]["num_samples"] = _protocol_samples(config)
    values |= {"benchmark_folder": None, "further_benchmarks": []}
    if values["benchmark"] not in OF_THE_RUN:
        values["benchmark"] = "test"
    values["protocol"] |= {"prompt_template": None, "system_prompt": None}
    if not is_toy(config):
        tokens = round(config.evaluation.protocol.max_new_tokens * _share(config))
        values["protocol"]["max_new_tokens"] = min(LONGEST_EVALUATION, max(SHORTEST_RESPONSE, tokens))
    return values


def tracking(config: RecipeConfig) -> dict[str, Any]:
    """Weights & Biases without its server."""
    values = config.tracking.model_dump(mode="json")
    return values | {"wandb": "disabled" if config.tracking.wandb == "disabled" else "offline"}


def answer_format(config: RecipeConfig) -> AnswerFormat:
    """The form of answers that most of the rewards and the verifier pay for."""
    asked = [*config.rewards, RewardConfig(name=config.evaluation.protocol.verifier)]
    forms: list[AnswerFormat] = ["boxed", "thought", "answer_tag"]
    if any(reward.name == "answer_tag" and reward.file is None for reward in asked):
        forms = ["answer_tag", "boxed", "thought"]
    return max(forms, key=lambda form: sum(form in forms_that_earn(reward) for reward in asked))


def forms_that_earn(reward: RewardConfig) -> frozenset[AnswerFormat]:
    """In which forms a right answer can earn a reward; all where that is not known."""
    every: frozenset[AnswerFormat] = frozenset(("boxed", "thought", "answer_tag"))
    if reward.file is not None:
        return every
    if reward.name == "boxed":
        return every - {"answer_tag"}
    if reward.name == "deepscaler":
        return frozenset(("thought",)) if reward.kwargs.get("thought_required", True) else every - {"answer_tag"}
    if reward.name == "answer_tag":
        return every if reward.kwargs.get("fallback", False) else frozenset(("answer_tag",))
    return every


def _share(config: RecipeConfig) -> float:
    """Toy tokens for one of the recipe's."""
    return LONGEST_RESPONSE / max(stage.max_response_tokens for stage in config.stages)


def _steps(config: RecipeConfig, index: int) -> int:
    together = STEPS if config.sft is None and config.reward_model is None else STEPS_BEHIND_OTHERS
    return min(config.stages[index].steps, MAX_STAGE_STEPS, max(1, together // len(config.stages)))


def _in_proportion(steps: int, config: RecipeConfig, index: int) -> int:
    """Some of a stage's steps, at toy size; none stays none, and some at least one."""
    return min(steps, max(1, round(steps * _steps(config, index) / config.stages[index].steps))) if steps else 0


def _batch(stage: StageConfig) -> tuple[int, int]:
    """Prompts a step and responses an update: about RESPONSES in all, in as many updates as the recipe has.

    Where that cannot be, because the recipe has more updates than a toy batch has responses, each update is as small
    as can be.
    """
    samples, wanted = stage.rollout.num_samples, updates(stage)
    together = samples if stage.algorithm.aggregation == "prompt_mean_token_mean" else 1
    first = min(stage.rollout.num_prompts, max(1, round(RESPONSES / samples)))
    for prompts in range(first, 2 * first + 1):
        batch = prompts * samples
        if batch % wanted == 0 and (batch // wanted) % together == 0:
            return prompts, batch // wanted
    return first, together


def _policy_rate(config: RecipeConfig, stage: StageConfig) -> float:
    if is_toy(config):
        return stage.optimizer.learning_rate
    highest = max(other.optimizer.learning_rate for other in config.stages)
    rate = ADAPTER_RATE if config.policy.lora else POLICY_RATE
    return float(f"{rate * stage.optimizer.learning_rate / highest:.3g}")


def _lora(lora: LoraConfig | None) -> dict[str, Any] | None:
    if lora is None:
        return None
    rank = min(lora.rank, LORA_RANK)
    known = lora.target_modules == "all-linear" or LAYERS.issuperset(lora.target_modules)
    modules = lora.target_modules if known else "all-linear"
    return {"rank": rank, "alpha": lora.alpha * rank / lora.rank, "target_modules": modules}


def _policy_lora(config: RecipeConfig) -> dict[str, Any] | None:
    """The policy's adapter, which begins anew where the recipe's begins with one from a folder."""
    lora, values = config.policy.lora, _lora(config.policy.lora)
    if lora is None or values is None or (len(config.stages) == 1 and lora.folder is not None):
        return values
    return {**values, "start": lora.start}


def _reward(config: RecipeConfig, reward: RewardConfig) -> dict[str, Any]:
    values, share = reward.model_dump(mode="json"), 1.0 if is_toy(config) else _share(config)
    if reward.file is None and share < 1:
        shortest = min(stage(config, index)["max_response_tokens"] for index in range(len(config.stages)))
        for (name, option), default in LENGTHS.items():
            if name == reward.name:
                length = max(1, round(reward.kwargs.get(option, default) * share))
                values["kwargs"][option] = min(length, shortest) if option == "buffer_tokens" else length
        for (name, option), rate in RATES_OF_LENGTH.items():
            if name == reward.name:
                values["kwargs"][option] = float(f"{reward.kwargs.get(option, rate) / share:.3g}")
    return values


def _protocol_samples(config: RecipeConfig) -> int:
    return min(config.evaluation.protocol.num_samples, PROTOCOL_SAMPLES)
