"""One step of a stage on one device, part by part: the project's own learner, sampler and step, on random weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from benchmarks.flops import BACKWARD, forward_flops, matrix_peak
from benchmarks.models import write_model
from benchmarks.watch import Watch
from rl_core.config import RecipeConfig, load_config
from rl_core.models.load import load_causal_lm
from rl_core.rollout.choose import choose_engine
from rl_core.rollout.collect import Limits, Rollout
from rl_core.rollout.engine import Sampling
from rl_core.rollout.start import start_engine
from rl_core.training.figures import Figures
from rl_core.training.layout import choose_layout
from rl_core.training.learner import Learner
from rl_core.training.reference import FrozenCopy
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.training.synchronize import synchronize
from rl_core.types import Problem, Request, Score
from rl_core.world import World

PROMPT_TOKENS = 256  # or a quarter of a shorter context
WARM_UP_TOKENS = 16  # responses of the step before the measured one: kernels are loaded, moments allocated
# Forward passes that each part is worth by the operations that it is asked for.
FORWARD_PASSES = {
    "generate": 1,
    "log-probabilities": 1,
    "train": 1 + BACKWARD,
    "train: forward": 1,
    "train: backward": BACKWARD,
}


def measure_stage(
    preset: Path, overrides: Sequence[str], index: int, shape: str, folder: Path
) -> list[dict[str, object]]:
    """The lines of one stage's table, in a process of its own.

    Args:
        shape: of the model, which is written into `folder` where that is empty.
    """
    if not any(folder.iterdir()):
        write_model(shape, folder)
    step = OneStep(load_config(preset, [*overrides, f"policy.model_name={folder}"]), index, folder)
    model = step.learner.causal_lm
    peak = matrix_peak(step.world.device, model.dtype)
    step.run(WARM_UP_TOKENS)
    step.forget_warm_up()
    rollouts = step.run(step.stage.context_tokens)
    lengths = [(len(one.problem.prompt_ids), len(one.completion.token_ids)) for one in rollouts]
    flops = sum(forward_flops(model.config, prompt, response) for prompt, response in lengths)
    rows = step.rows(sum(map(sum, lengths)), flops, peak)
    step.engine.close()
    step.world.leave()
    return rows


class OneStep:
    """A stage's learner, sampler and step, started as `rl_core.training.stage` starts them."""

    def __init__(self, config: RecipeConfig, index: int, folder: Path) -> None:
        self.world = World.join()
        self.stage = config.stages[index]
        self._config, self._folder = config, folder
        self._watch = Watch(self.world.device)
        rollout = self.stage.rollout
        with self._watch("start learner"):
            self.learner = Learner(self._load(), config.training, self.stage.optimizer, self.world)
            has_reference = self.stage.algorithm.kl_coefficient > 0
            reference = FrozenCopy(self._load(), config.training, self.world) if has_reference else None
        with self._watch("start sampler"):
            self.engine = start_engine(
                choose_engine(rollout),
                folder,
                config.policy,
                rollout,
                context_tokens=self.stage.context_tokens,
                max_concurrent_sequences=rollout.max_concurrent_sequences,
                beside_learner=True,
                world=self.world,
            )
        self._trainer = StepTrainer(
            self.learner,
            reference,
            self.stage.algorithm,
            num_samples=rollout.num_samples,
            temperature=rollout.temperature,
            layout=choose_layout(config.training, self.learner.causal_lm),
        )
        for method, name in {"forward": "forward", "backward": "backward", "step": "optimizer"}.items():
            self._watch.calls(self.learner.engine, method, f"train: {name}", within="train")
        synchronize(self.learner, self.engine, 0)

    def run(self, max_response_tokens: int) -> list[Rollout]:
        """The step; its rollouts, every other one rewarded."""
        with self._watch("generate"):
            rollouts = self._sample(max_response_tokens)
        with self._watch("sleep"):
            self.engine.sleep()
        figures = Figures()
        samples = samples_of(rollouts, self.stage.rollout.num_samples, self.stage.algorithm)
        with self._watch("log-probabilities"):  # of the old policy, which all but a step's first update need
            for batches in self._trainer.updates(samples):
                self.learner.logprobs(batches, self.stage.rollout.temperature)
        with self._watch("reference"):
            updates = self._trainer.prepared(samples, figures)
        with self._watch("train"):
            self._trainer.train_policy(updates, figures)
        with self._watch("synchronise, waking weights"):
            synchronize(self.learner, self.engine, 1)
        with self._watch("wake"):
            self.engine.wake()
        return rollouts

    def forget_warm_up(self) -> None:
        """Of all parts but the starts."""
        self._watch.parts = {name: part for name, part in self._watch.parts.items() if name.startswith("start")}

    def rows(self, tokens: int, flops: float, peak: float) -> list[dict[str, object]]:
        """Lines of a table.

        Args:
            tokens: of all sequences.
            flops: of a forward pass over them.
            peak: operations a second of a large matrix product.
        """
        rows: list[dict[str, object]] = []
        for name, part in self._watch.parts.items():
            rate = FORWARD_PASSES[name] * flops / part.seconds if name in FORWARD_PASSES else None
            rows.append(
                {
                    "stage": self.stage.name,
                    "part": name,
                    "seconds": part.seconds,
                    "tokens/s": None if rate is None else round(tokens / part.seconds),
                    "TFLOP/s": None if rate is None else rate / 1e12,
                    "of the matrix peak": None if rate is None else rate / peak,
                    "peak GB": part.peak_bytes / 1e9,
                    "device GB after": None if part.device_bytes is None else part.device_bytes / 1e9,
                }
            )
        figures = {"part": "a matrix product", "TFLOP/s": peak / 1e12, "of the matrix peak": 1.0}
        return [dict.fromkeys(rows[0], None) | {"stage": self.stage.name} | figures, *rows]

    def _sample(self, max_response_tokens: int) -> list[Rollout]:
        rollout, vocabulary = self.stage.rollout, self.learner.causal_lm.config.vocab_size
        length = min(PROMPT_TOKENS, self.stage.context_tokens // 4)
        draw = torch.Generator().manual_seed(0)
        prompts = torch.randint(vocabulary, (rollout.num_prompts, length), generator=draw).tolist()
        problems = [Problem(index, "", "", tuple(prompt)) for index, prompt in enumerate(prompts)]
        wanted = [(problem, sample) for problem in problems for sample in range(rollout.num_samples)]
        limits = Limits.of_stage(self.stage)
        requests = [
            Request(problem.prompt_ids, min(max_response_tokens, limits.response_tokens(problem)), seed=index)
            for index, (problem, _) in enumerate(wanted)
        ]
        completions = self.engine.generate(requests, Sampling(rollout.temperature))
        return [
            Rollout(problem, sample, completion, "", Score(float(sample % 2)))
            for (problem, sample), completion in zip(wanted, completions, strict=True)
        ]

    def _load(self) -> PreTrainedModel:
        return load_causal_lm(self._folder, self._config.policy, self.world.device)
