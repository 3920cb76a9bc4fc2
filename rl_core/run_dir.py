"""The run directory: where everything of a run is, and which settings each part depends on.

    runs/<name>/
      config.yaml  config.digest         the resolved recipe and the digest that identifies it
      sources/                           what was downloaded, from where, at which commit; manifest.json
      data/{train,test,probe}.parquet    manifest.json
      benchmarks/<name>/                 problems of a benchmark that is not the run's own; manifest.json
      base/                              the first policy as a Hugging Face folder; manifest.json
      reward_model/                      the learned reward model, where it is one of a hub; manifest.json
      stages/<n>-<name>/
        metrics.jsonl                    one line per step
        rollouts/step_000010.parquet     sampled responses with their rewards
        checkpoints/step_000010/         policy/weights/ (DCP), trainer/, config.yaml, manifest.json
        hf/                              the converted policy, an adapter merged and in adapter/; manifest.json
        summary.json
      evaluations/<model digest>/<benchmark>-<protocol digest>.json and .parquet (every sample)
      logs/                              what the process of each part said
      report.md  report.html  *.png

Each part has a key: the digest of every setting that decides its content and of the key of what it is made from. A
part that stands under another key was made by another recipe, and is never continued or overwritten in silence.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl_core.config import RecipeConfig
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import BENCHMARKS, benchmark_name
from rl_core.manifest import digest_of, read_manifest

# Raise when a change of the code changes what a part contains, so that finished parts are made again.
PART_VERSION = {
    "sources": 1,
    "data": 2,
    "base": 2,
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
class StageDir:
    """The files of one stage."""

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
    def summary(self) -> Path:
        return self.root / "summary.json"


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

    def stage(self, index: int) -> StageDir:
        """Stage `index` (0 is the first); folders count from 1."""
        return StageDir(self.root / "stages" / f"{index + 1}-{self.config.stages[index].name}")

    def evaluation(self, model_digest: str, benchmark: str | None = None) -> Path:
        """The evaluation of one model on one benchmark (None: the first), under the recipe's own protocol."""
        folder = self.root / "evaluations" / model_digest
        return folder / evaluation_name(benchmark or self.config.evaluation.benchmark, self.protocol)

    @property
    def protocol(self) -> dict[str, Any]:
        """How models are asked and marked: everything that an evaluation is named after, beside its benchmark."""
        return self.config.evaluation.protocol.identity(self.config.data)

    @property
    def report(self) -> Path:
        return self.root / "report.md"

    @property
    def config_digest(self) -> str:
        """Identifies the recipe as a whole."""
        return digest_of(self.config.model_dump(mode="json"))

    def sources_key(self) -> str:
        data = self.config.data
        sources = [data.train.model_dump(mode="json"), data.test.model_dump(mode="json")]
        return _key("sources", sources, self._embedded())

    def data_key(self) -> str:
        data = self.config.data.model_dump(mode="json", exclude={"chat_template"})  # which is in the base's tokenizer
        return _key("data", data, self.config.seed, self.sources_key())

    def benchmark_key(self, benchmark: str) -> str:
        known = BENCHMARKS.get(benchmark)
        folder = self.config.evaluation.benchmark_folder
        return _key("benchmark", benchmark, asdict(known) if known else None, folder, self.config.data.prompt_template)

    def base_key(self) -> str:
        policy = self.config.policy.model_dump(mode="json", exclude={"lora"})
        return _key("base", policy, self.config.data.chat_template, self._embedded(), self.data_key())

    def reward_model_key(self) -> str:
        reward = self.config.reward_model
        assert reward is not None, "asked only where there is one"
        return _key("reward_model", reward.kwargs["model"], reward.revision)

    def stage_key(self, index: int) -> str:
        """Of the training of a stage: its own settings and what it starts from."""
        before = self.hf_key(index - 1) if index else self.base_key()
        config = self.config
        own = config.stages[index].model_dump(mode="json", exclude={"rollout": LAYOUT_OF_ROLLOUT})
        shared = [config.policy.model_dump(mode="json"), *(reward.identity() for reward in config.rewards)]
        if config.critic is not None:
            shared.append(config.critic.identity())
        # Left out: the layout on devices, so that a run may go on with other processes or another ZeRO stage, and
        # what is only measured or guarded.
        return _key("stage", own, config.seed, shared, before)

    def hf_key(self, index: int) -> str:
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
