"""What each part of a run is known by.

Each part has a key: the digest of every setting that decides its content and of the key of what it is made from. A
part that stands under another key was made by another recipe, and is never continued or overwritten in silence.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl_core.config import SFT, RecipeConfig, StageIndex
from rl_core.config.recipe import BEFORE_THE_STAGES
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import BENCHMARKS
from rl_core.manifest import digest_of, read_manifest

# Raise when a change of the code changes what a part contains, so that finished parts are made again.
PART_VERSION = {
    "sources": 1,
    "data": 2,
    "base": 2,
    "critic": 1,
    "sft": 2,
    "pairs": 1,
    "reward_model_training": 1,
    "reward_model": 1,
    "stage": 2,
    "hf": 1,
    "evaluation": 1,
    "benchmark": 1,
}
# Settings of `rollout` that lay the work out on devices.
LAYOUT_OF_ROLLOUT: dict[str, Any] = {
    "max_concurrent_sequences": True,
    "vllm": {"gpu_memory_utilization": True, "tensor_parallel_size": True},
}


@dataclass(frozen=True, slots=True)
class PartKeys:
    """The keys of the parts of one recipe's run."""

    config: RecipeConfig

    def recipe(self) -> str:
        """Identifies the recipe as a whole. A part that it does not have is left out, and so changes nothing."""
        values = self.config.model_dump(mode="json")
        absent = [name for name in BEFORE_THE_STAGES if values[name] is None]
        return digest_of({name: value for name, value in values.items() if name not in absent})

    def sources(self) -> str:
        data, sft = self.config.data, self.config.sft
        sources = [data.train.model_dump(mode="json"), data.test.model_dump(mode="json")]
        sources += [sft.data.model_dump(mode="json")] if sft else []
        return _key("sources", sources, self._embedded())

    def data(self) -> str:
        data = self.config.data.model_dump(mode="json", exclude={"chat_template"})  # which is in the base's tokenizer
        pairs = self.config.pairs
        own_rows = [["pairs", pairs.first_row, pairs.num_rows]] if pairs else []
        return _key("data", data, self.config.seed, self.sources(), *own_rows)

    def benchmark(self, benchmark: str) -> str:
        known = BENCHMARKS.get(benchmark)
        folder = self.config.evaluation.benchmark_folder
        return _key("benchmark", benchmark, asdict(known) if known else None, folder, self.config.data.prompt_template)

    def base(self) -> str:
        policy = self.config.policy.model_dump(mode="json", exclude={"lora"})
        return _key("base", policy, self.config.data.chat_template, self._embedded(), self.data())

    def sft(self) -> str:
        """Of the supervised training."""
        sft = self.config.sft
        assert sft is not None, "asked only where there is one"
        measured = {"validation_every_steps"}
        return _key("sft", sft.model_dump(mode="json", exclude=measured), self.config.seed, self.base())

    def pairs(self) -> str:
        pairs = self.config.pairs
        assert pairs is not None, "asked only where there are any"
        own = pairs.model_dump(mode="json", exclude={"first_row", "num_rows"})  # which are in the data
        return _key("pairs", own, self.config.seed, self.policy(0))

    def reward_model_training(self) -> str:
        config = self.config.reward_model
        assert config is not None, "asked only where there is one"
        return _key("reward_model_training", config.identity(), self.config.seed, self.pairs())

    def reward_model(self) -> str:
        """Of the learned reward model: the one that the run trains, or one of a hub."""
        reward = self.config.learned_reward
        assert reward is not None, "asked only where there is one"
        if reward.is_trained_here:
            return _key("reward_model", self.reward_model_training())
        return _key("reward_model", reward.kwargs["model"], reward.revision)

    def critic(self) -> str:
        """Of the critic's own model, where it is of a hub."""
        critic = self.config.critic
        assert critic is not None, "asked only where there is one"
        return _key("critic", critic.model_name, critic.revision, critic.hub)

    def policy(self, index: StageIndex) -> str:
        """Of the model that a stage starts from."""
        before = self.config.stage_before(index)
        return self.base() if before is None else self.hf(before)

    def stage(self, index: StageIndex) -> str:
        """Of the training of a stage: its own settings and what it starts from."""
        if index == SFT:
            return self.sft()
        config = self.config
        own = config.stages[index].model_dump(mode="json", exclude={"rollout": LAYOUT_OF_ROLLOUT})
        shared: list[Any] = [config.policy.identity(), *(reward.identity() for reward in config.rewards)]
        if config.critic is not None:
            shared.append(config.critic.identity())
        if config.reward_model is not None:
            shared.append(self.reward_model())
        # Left out: the layout on devices, so that a run may go on with other processes or another ZeRO stage, and
        # what is only measured or guarded.
        return _key("stage", own, config.seed, shared, self.policy(index))

    def hf(self, index: StageIndex) -> str:
        checkpoint = self.config.checkpoint
        return _key("hf", checkpoint.export_dtype, checkpoint.max_shard_bytes, self.stage(index))

    def _embedded(self) -> Any:
        embedded = self.config.embedded
        return [embedded.model_dump(mode="json"), self.config.seed] if embedded else None


def _key(part: str, *content: Any) -> str:
    return digest_of([part, PART_VERSION[part], *content])


def finished_part(directory: Path, key: str) -> dict[str, Any] | None:
    """The manifest of a part that is complete under `key`; None when the part is still to be made.

    Raises:
        MistakeError: the part was made with other settings, or by another version of the code.
    """
    manifest = read_manifest(directory)
    if manifest is not None and manifest["config_digest"] != key:
        raise MistakeError(
            f"{directory} was made with other settings (digest {manifest['config_digest']}, now {key}), and is not "
            "overwritten: take another --run-dir, go back to the settings it was made with, or remove that folder"
        )
    return manifest
