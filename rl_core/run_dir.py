"""The run directory: where everything of a run is, and which settings each part depends on.

    runs/<name>/
      config.yaml  config.digest         the resolved recipe and the digest that identifies it
      sources/                           what was downloaded, from where, at which commit; manifest.json
      data/{train,test,probe}.parquet    manifest.json
      benchmarks/<name>/                 problems of a benchmark that is not the run's own; manifest.json
      base/                              the first policy as a Hugging Face folder; manifest.json
      reward_model/                      the learned reward model, of a hub or of this run; manifest.json
      sft/                               the fine-tuned first policy, where the recipe has `sft`; files as of a stage
      pairs/{train,held_out}.parquet     preference pairs, where the recipe has `pairs`; manifest.json
      reward_model_training/             where the recipe has `reward_model`: metrics.jsonl, checkpoints/, summary.json
      stages/<n>-<name>/
        metrics.jsonl                    one line per step
        rollouts/step_000010.parquet     sampled responses with their rewards
        checkpoints/step_000010/         policy/weights/ (DCP), trainer/, config.yaml, manifest.json
        hf/                              the converted policy, an adapter merged and in adapter/; manifest.json
        summary.json
      evaluations/<model digest>/<benchmark>-<protocol digest>.json and .parquet (every sample)
      logs/                              what the process of each part said
      tracking.json                      the id and the page of the run on Weights & Biases
      work/                              what each process took: when, how long, on what hardware
      report.md  report.html  *.png
      published.json                     where its model was published

Each part has a key: the digest of every setting that decides its content and of the key of what it is made from. A
part that stands under another key was made by another recipe, and is never continued or overwritten in silence.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rl_core.config import RecipeConfig
from rl_core.config.models import LoraConfig
from rl_core.config.recipe import BEFORE_THE_STAGES
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import BENCHMARKS, benchmark_name
from rl_core.manifest import digest_of, read_manifest

# Raise when a change of the code changes what a part contains, so that finished parts are made again.
PART_VERSION = {
    "sources": 1,
    "data": 2,
    "base": 2,
    "sft": 1,
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


SFT: Literal["sft"] = "sft"
StageIndex = int | Literal["sft"]
"""A part that trains a policy: a stage of the recipe, 0 the first, or what goes before them."""


@dataclass(frozen=True, slots=True)
class StageDir:
    """The files of one stage, or of another training."""

    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def rollouts(self) -> Path:
        return self.root / "rollouts"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step_{step:06d}"

    def converted(self, step: int) -> Path:
        """A checkpoint as a Hugging Face folder, for as long as it takes to evaluate it."""
        return self.root / "converted" / f"step_{step:06d}"

    @property
    def hf(self) -> Path:
        return self.root / "hf"

    @property
    def adapter(self) -> Path:
        """Of the converted policy, where an adapter was trained."""
        return self.hf / "adapter"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def memory(self) -> Path:
        """Of a training whose memory ran out: with which micro-batches it did not."""
        return self.root / "memory.json"


@dataclass(frozen=True, slots=True)
class RunDir:
    """One run: its recipe, its folder, and the key of each of its parts."""

    root: Path
    config: RecipeConfig

    @property
    def config_file(self) -> Path:
        return self.root / "config.yaml"

    @property
    def config_digest_file(self) -> Path:
        return self.root / "config.digest"

    @property
    def sources(self) -> Path:
        return self.root / "sources"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def base(self) -> Path:
        return self.root / "base"

    def benchmark(self, benchmark: str) -> Path:
        """The problems of a benchmark that is not of the run's own data."""
        return self.root / "benchmarks" / benchmark_name(benchmark)

    @property
    def reward_model(self) -> Path:
        return self.root / "reward_model"

    @property
    def pairs(self) -> Path:
        return self.root / "pairs"

    @property
    def pairs_samples(self) -> Path:
        """What the pairs are made from, while it is sampled."""
        return self.root / "pairs.samples"

    @property
    def reward_model_training(self) -> StageDir:
        return StageDir(self.root / "reward_model_training")

    def stage(self, index: StageIndex) -> StageDir:
        """Stage `index` (0 is the first); folders count from 1."""
        if index == SFT:
            return StageDir(self.root / SFT)
        return StageDir(self.root / "stages" / f"{index + 1}-{self.config.stages[index].name}")

    def stage_name(self, index: StageIndex) -> str:
        return SFT if index == SFT else self.config.stages[index].name

    def lora(self, index: StageIndex) -> LoraConfig | None:
        """The adapter that a stage trains; None: all of the weights."""
        if index == SFT:
            return self.config.sft.lora if self.config.sft else None
        return self.config.policy.lora

    def stage_before(self, index: StageIndex) -> StageIndex | None:
        """The one whose model `index` starts from; None: the base model."""
        if index == SFT:
            return None
        return index - 1 if index else SFT if self.config.sft else None

    def first_policy(self, index: StageIndex) -> Path:
        """The Hugging Face folder that stage `index` starts from."""
        before = self.stage_before(index)
        return self.base if before is None else self.stage(before).hf

    def model_below(self, index: StageIndex) -> Path:
        """The Hugging Face folder that stage `index` loads: without the adapter, where it goes on with one."""
        return self.base if index != SFT and self._goes_on else self.first_policy(index)

    def first_adapter(self, index: int) -> Path | None:
        """The folder of the adapter that stage `index` goes on with; None: it begins with a new one, or has none."""
        lora, before = self.config.policy.lora, self.stage_before(index)
        if lora is None or not self._goes_on:
            return None
        if before is not None:
            return self.stage(before).adapter
        return None if lora.folder is None else Path(lora.folder).expanduser()

    @property
    def _goes_on(self) -> bool:
        return self.config.policy.lora is not None and self.config.policy.lora.start == "adapter"

    def evaluation(self, model_digest: str, benchmark: str | None = None) -> Path:
        """The evaluation of one model on one benchmark (None: the first), under the recipe's own protocol."""
        folder = self.root / "evaluations" / model_digest
        return folder / evaluation_name(benchmark or self.config.evaluation.benchmark, self.protocol)

    @property
    def protocol(self) -> dict[str, Any]:
        """How models are asked and marked: everything that an evaluation is named after, beside its benchmark."""
        return self.config.evaluation.protocol.identity(self.config.data)

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def report(self) -> Path:
        return self.root / "report.md"

    @property
    def published(self) -> Path:
        return self.root / "published.json"

    @property
    def published_stage(self) -> int:
        """The stage whose model is published, where one is."""
        names = [stage.name for stage in self.config.stages]
        named = self.config.publish.stage if self.config.publish else None
        return len(names) - 1 if named is None else names.index(named)

    @property
    def config_digest(self) -> str:
        """Identifies the recipe as a whole. A part that it does not have is left out, and so changes nothing."""
        values = self.config.model_dump(mode="json")
        absent = [name for name in BEFORE_THE_STAGES if values[name] is None]
        return digest_of({name: value for name, value in values.items() if name not in absent})

    def sources_key(self) -> str:
        data, sft = self.config.data, self.config.sft
        sources = [data.train.model_dump(mode="json"), data.test.model_dump(mode="json")]
        sources += [sft.data.model_dump(mode="json")] if sft else []
        return _key("sources", sources, self._embedded())

    def data_key(self) -> str:
        data = self.config.data.model_dump(mode="json", exclude={"chat_template"})  # which is in the base's tokenizer
        pairs = self.config.pairs
        own_rows = [["pairs", pairs.first_row, pairs.num_rows]] if pairs else []
        return _key("data", data, self.config.seed, self.sources_key(), *own_rows)

    def benchmark_key(self, benchmark: str) -> str:
        known = BENCHMARKS.get(benchmark)
        folder = self.config.evaluation.benchmark_folder
        return _key("benchmark", benchmark, asdict(known) if known else None, folder, self.config.data.prompt_template)

    def base_key(self) -> str:
        policy = self.config.policy.model_dump(mode="json", exclude={"lora"})
        return _key("base", policy, self.config.data.chat_template, self._embedded(), self.data_key())

    def sft_key(self) -> str:
        """Of the supervised training."""
        sft = self.config.sft
        assert sft is not None, "asked only where there is one"
        measured = {"validation_every_steps"}
        return _key("sft", sft.model_dump(mode="json", exclude=measured), self.config.seed, self.base_key())

    def pairs_key(self) -> str:
        pairs = self.config.pairs
        assert pairs is not None, "asked only where there are any"
        own = pairs.model_dump(mode="json", exclude={"first_row", "num_rows"})  # which are in the data
        return _key("pairs", own, self.config.seed, self.policy_key(0))

    def reward_model_training_key(self) -> str:
        config = self.config.reward_model
        assert config is not None, "asked only where there is one"
        return _key("reward_model_training", config.identity(), self.config.seed, self.pairs_key())

    def reward_model_key(self) -> str:
        """Of the learned reward model: the one that the run trains, or one of a hub."""
        reward = self.config.learned_reward
        assert reward is not None, "asked only where there is one"
        if reward.is_trained_here:
            return _key("reward_model", self.reward_model_training_key())
        return _key("reward_model", reward.kwargs["model"], reward.revision)

    def policy_key(self, index: StageIndex) -> str:
        """Of the model that a stage starts from."""
        before = self.stage_before(index)
        return self.base_key() if before is None else self.hf_key(before)

    def stage_key(self, index: StageIndex) -> str:
        """Of the training of a stage: its own settings and what it starts from."""
        if index == SFT:
            return self.sft_key()
        config = self.config
        own = config.stages[index].model_dump(mode="json", exclude={"rollout": LAYOUT_OF_ROLLOUT})
        shared: list[Any] = [config.policy.identity(), *(reward.identity() for reward in config.rewards)]
        if config.critic is not None:
            shared.append(config.critic.identity())
        if config.reward_model is not None:
            shared.append(self.reward_model_key())
        # Left out: the layout on devices, so that a run may go on with other processes or another ZeRO stage, and
        # what is only measured or guarded.
        return _key("stage", own, config.seed, shared, self.policy_key(index))

    def hf_key(self, index: StageIndex) -> str:
        checkpoint = self.config.checkpoint
        return _key("hf", checkpoint.export_dtype, checkpoint.max_shard_bytes, self.stage_key(index))

    def _embedded(self) -> Any:
        embedded = self.config.embedded
        return [embedded.model_dump(mode="json"), self.config.seed] if embedded else None


def evaluation_name(benchmark: str, protocol: dict[str, Any]) -> str:
    """The name of an evaluation's file in the folder of its model."""
    return f"{benchmark_name(benchmark)}-{digest_of(protocol)}.json"


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
