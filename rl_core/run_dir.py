"""The run directory: where everything of a run is.

    runs/<name>/
      config.yaml  config.digest         the resolved recipe and the digest that identifies it
      sources/                           what was downloaded, from where, at which commit; manifest.json
      data/{train,test,probe}.parquet    manifest.json
      benchmarks/<name>/                 problems of a benchmark that is not the run's own; manifest.json
      base/                              the first policy as a Hugging Face folder; manifest.json
      critic/                            the model that the critic starts from, where it is of a hub; manifest.json
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

Each part has a key, by which it is known whose it is: `part_keys`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_core.config import SFT, RecipeConfig, StageIndex
from rl_core.config.models import LoraConfig
from rl_core.evaluation.benchmarks import OF_THE_RUN, OWN_COPY, benchmark_name
from rl_core.manifest import digest_of
from rl_core.part_keys import PartKeys


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
    """One run: its recipe and its folder."""

    root: Path
    config: RecipeConfig

    @property
    def keys(self) -> PartKeys:
        """What each of its parts is known by."""
        return PartKeys(self.config)

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
        return self.root / OWN_COPY[0] / benchmark_name(benchmark)

    def problems(self, benchmark: str) -> Path:
        """The parquet file of what is asked under a benchmark."""
        if benchmark in OF_THE_RUN:
            return self.data / f"{benchmark}.parquet"
        return self.benchmark(benchmark) / OWN_COPY[1]

    @property
    def critic(self) -> Path:
        return self.root / "critic"

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

    def first_policy(self, index: StageIndex) -> Path:
        """The Hugging Face folder that stage `index` starts from."""
        before = self.config.stage_before(index)
        return self.base if before is None else self.stage(before).hf

    def model_below(self, index: StageIndex) -> Path:
        """The Hugging Face folder that stage `index` loads: without the adapter, where it goes on with one."""
        return self.base if index != SFT and self._goes_on else self.first_policy(index)

    def first_adapter(self, index: int) -> Path | None:
        """The folder of the adapter that stage `index` goes on with; None: it begins with a new one, or has none."""
        lora, before = self.config.policy.lora, self.config.stage_before(index)
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


def evaluation_name(benchmark: str, protocol: dict[str, Any]) -> str:
    """The name of an evaluation's file in the folder of its model."""
    return f"{benchmark_name(benchmark)}-{digest_of(protocol)}.json"
