"""Memory of PPO's four roles on one base against models of their own: `python -m benchmarks.shared_base`.

One step of PPO on random responses (policy and critic updated once, the reference and the reward model asked once) in a
process of its own for each way to hold the roles, float32, without ZeRO:

    one base        adapters for policy, value, reference and reward on one model
    four, adapters  four models; policy and value model are trained by adapters
    four, whole     four models; policy and value model are trained whole, as without adapters
"""

import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.circumstances import circumstances
from benchmarks.models import HUNDRED_MILLION, SHAPES, TINY, write_model
from benchmarks.outcome import arguments, print_table, write_outcome
from benchmarks.processes import in_fresh_process

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from rl_core.config.models import CriticConfig, LoraConfig, OptimizerConfig
    from rl_core.config.training import TrainingConfig
    from rl_core.rollout.collect import Rollout
    from rl_core.training.critic import Critic
    from rl_core.training.learner import Learner
    from rl_core.training.reference import ReferencePolicy
    from rl_core.world import World

Way = Literal["one base", "four, adapters", "four, whole"]
WAYS: tuple[Way, ...] = ("one base", "four, adapters", "four, whole")
MIB = 2**20
WARM_UP = TINY
RANK, ALPHA = 16, 32  # of policy and value model; the reward model has half of both
PROMPT_TOKENS, RESPONSE_TOKENS, RESPONSES, TOGETHER = 16, 48, 8, 4


@dataclass(frozen=True, slots=True)
class Held:
    """The four roles, however they are held."""

    learner: "Learner"
    critic: "Critic"
    reference: "ReferencePolicy"
    ask_reward: Callable[[list[list[int]]], object]


def measure(way: Way, folder: Path, warm_up: Path) -> dict[str, object]:
    """In MiB: the tensors that are held behind one step, and by how much the process grew at its peak.

    Args:
        warm_up: a model of any size, of which the same is done first: what is imported when it is first used is no
            memory of the roles.
    """
    from benchmarks.peak import peak_rise
    from rl_core.environment import prepare_environment

    prepare_environment()
    from rl_core.world import World

    world = World.join()
    make = on_one_base if way == "one base" else on_four_models
    one_step(make(warm_up, world, way))
    before = tensor_bytes()
    held, peak = peak_rise(lambda: one_step(make(folder, world, way)), world.device)
    figures = {"held MiB": (tensor_bytes() - before) / MIB, "peak MiB": peak / MIB}
    world.leave()
    return {"trained": sum(parameter.numel() for parameter in trained(held)), **figures}


def on_one_base(folder: Path, world: "World", _: Way) -> Held:
    """As a recipe with `critic.backbone: shared` and a reward model of `backbone: shared` has them."""
    import torch

    from rl_core.embedded.tokenizer import build_tokenizer
    from rl_core.models.reward_model import SharedRewardModel
    from rl_core.models.shared_base import SharedBase
    from rl_core.models.token_values import TokenValues, ValueModel
    from rl_core.training.critic import Critic
    from rl_core.training.learner import Learner
    from rl_core.training.reference import FrozenAdapter

    base, (policy, reward, training, optimizer, critic) = SharedBase(load(folder, world)), settings()
    base.add("policy", policy, field="policy.lora")
    first = {f"{name}.weight": module.weight.detach().clone() for name, module in base.adapter("policy").items()}
    base.add("value", policy, first, field="critic.lora")
    base.add("reference", policy, first, field="policy.lora")
    base.add("reward", reward, field="reward")
    base.settle(world.device)
    learner = Learner(base.causal_lm, training, optimizer, world, lora=policy, base=base)
    values = TokenValues(ValueModel(base.causal_lm))
    judge = SharedRewardModel(base, torch.ones(1, base.causal_lm.config.hidden_size), build_tokenizer())
    return Held(
        learner,
        Critic(values, training, critic, world, base=base),
        FrozenAdapter(base, learner),
        lambda sequences: judge.scores(sequences, TOGETHER * (PROMPT_TOKENS + RESPONSE_TOKENS)),
    )


def on_four_models(folder: Path, world: "World", way: Way) -> Held:
    """Each role with a model of its own."""
    import torch

    from rl_core.embedded.tokenizer import build_tokenizer
    from rl_core.models.lora import add_adapter
    from rl_core.models.reward_model import SharedRewardModel
    from rl_core.models.shared_base import SharedBase
    from rl_core.models.token_values import TokenValues, ValueModel
    from rl_core.training.critic import Critic
    from rl_core.training.learner import Learner
    from rl_core.training.reference import FrozenCopy

    policy, _, training, optimizer, critic = settings()
    lora = policy if way == "four, adapters" else None
    learner = Learner(load(folder, world), training, optimizer, world, lora=lora)
    of_values = load(folder, world)
    if lora is not None:
        add_adapter(of_values, lora)
    of_reward = SharedBase(load(folder, world))
    judge = SharedRewardModel(of_reward, torch.ones(1, of_values.config.hidden_size), build_tokenizer())
    return Held(
        learner,
        Critic(TokenValues(ValueModel(of_values)), training, critic, world),
        FrozenCopy(load(folder, world), training, world),
        lambda sequences: judge.scores(sequences, TOGETHER * (PROMPT_TOKENS + RESPONSE_TOKENS)),
    )


def load(folder: Path, world: "World") -> "PreTrainedModel":
    """The model in float32."""
    from rl_core.config.models import PolicyConfig
    from rl_core.models.load import load_causal_lm

    return load_causal_lm(folder, PolicyConfig(model_name=str(folder), dtype="float32"), world.device)


def settings() -> "tuple[LoraConfig, LoraConfig, TrainingConfig, OptimizerConfig, CriticConfig]":
    """Of the adapters of policy and reward model, the layout, and both optimizers."""
    from rl_core.config.models import CriticConfig, LoraConfig, OptimizerConfig
    from rl_core.config.training import TrainingConfig

    optimizer = OptimizerConfig(learning_rate=1e-5)
    return (
        LoraConfig(rank=RANK, alpha=ALPHA),
        LoraConfig(rank=RANK // 2, alpha=ALPHA / 2),
        TrainingConfig(zero_stage=0),
        optimizer,
        CriticConfig(optimizer=optimizer),
    )


def one_step(held: Held) -> Held:
    """One update of the policy and one of the critic on random responses; the reward model is asked of each."""
    import torch

    from rl_core.config import AlgorithmConfig
    from rl_core.training.figures import Figures
    from rl_core.training.grouping import Layout
    from rl_core.training.samples import samples_of
    from rl_core.training.step import StepTrainer

    algorithm = AlgorithmConfig(
        baseline="critic", scale="none", kl_coefficient=0.1, kl_in="reward", kl_estimator="k1",
        minibatch_sequences=RESPONSES,
    )  # fmt: skip
    layout = Layout(TOGETHER * (PROMPT_TOKENS + RESPONSE_TOKENS))
    trainer = StepTrainer(
        held.learner, held.reference, algorithm, num_samples=1, temperature=1.0, layout=layout, critic=held.critic,
        value_clip=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    vocabulary = held.learner.causal_lm.config.vocab_size
    sequences = torch.randint(2, vocabulary, (RESPONSES, PROMPT_TOKENS + RESPONSE_TOKENS)).tolist()
    held.ask_reward(sequences)
    figures = Figures()
    samples = samples_of([rollout(row, tokens) for row, tokens in enumerate(sequences)], 1, algorithm)
    updates = trainer.prepared(samples, figures)
    trainer.train_policy(updates, figures)
    trainer.train_critic(updates, figures)
    return held


def rollout(row: int, tokens: list[int]) -> "Rollout":
    """A response with some reward."""
    from rl_core.rollout.collect import Rollout
    from rl_core.types import Completion, Problem, Score

    response = tokens[PROMPT_TOKENS:]
    completion = Completion(response, [-8.0] * len(response), "stop", 0)
    problem = Problem(row, "", "1", tuple(tokens[:PROMPT_TOKENS]))
    return Rollout(problem, 0, completion, "", Score(row % 2, {}, None))


def trained(held: Held) -> "list[torch.Tensor]":
    """What both optimizers move."""
    return [parameter for module in (held.learner, held.critic) for _, parameter in module.named_parameters()]


def tensor_bytes() -> int:
    """Of every tensor that is alive in this process, storage by storage."""
    import torch

    gc.collect()
    storages = {
        storage.data_ptr(): storage.nbytes()
        for thing in gc.get_objects()
        if issubclass(type(thing), torch.Tensor)
        for storage in (thing.untyped_storage(),)
    }
    return sum(storages.values())


def main() -> None:
    """Measure every way."""
    parser = arguments("shared_base", __doc__)
    parser.add_argument("--model", choices=SHAPES, default=HUNDRED_MILLION)
    options = parser.parse_args()
    taken_under = circumstances()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in {options.model, WARM_UP}:
            write_model(name, Path(folder) / name)
        for way in WAYS:
            figures = in_fresh_process(measure, way, Path(folder) / options.model, Path(folder) / WARM_UP)
            rows.append({"way": way, **figures})
    print_table("Four roles", rows)
    sizes = {"rank": RANK, "responses": RESPONSES, "tokens": PROMPT_TOKENS + RESPONSE_TOKENS}
    write_outcome(options.json, {"model": options.model, **sizes, "rows": rows}, taken_under)


if __name__ == "__main__":
    main()
