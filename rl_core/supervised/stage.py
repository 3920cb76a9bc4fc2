"""The supervised training: from the base model to the first policy. Read `SupervisedTraining._step` first."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import restore_checkpoint
from rl_core.config import SFT
from rl_core.manifest import write_json
from rl_core.memory import peak_memory_bytes
from rl_core.models.load import attention_of, load_causal_lm
from rl_core.run_dir import RunDir
from rl_core.supervised.loop import SupervisedLoop, resume, whole_batches
from rl_core.supervised.loss import negative_log_likelihood, weighted_alike
from rl_core.supervised.rows import load_rows
from rl_core.tracking import Tracker
from rl_core.training.batching import MicroBatch, Sample, micro_batches
from rl_core.training.clock import Clock
from rl_core.training.guard import NonfiniteGuard
from rl_core.training.layout import choose_layout
from rl_core.training.learner import Learner
from rl_core.training.records import recorded_values
from rl_core.training.sampler import problems_at
from rl_core.training.schedule import cosine_rate
from rl_core.world import World, seed_everything

TEMPERATURE = 1.0  # likelihood under the model as it is


def train(run: RunDir) -> None:
    """Train to the last step, on this process as one rank of those that torchrun started."""
    world = World.join()
    try:
        SupervisedTraining(run, world).run()
    finally:
        world.leave()


class SupervisedTraining:
    """The stage `sft` on one rank."""

    def __init__(self, run: RunDir, world: World) -> None:
        config = run.config.sft
        assert config is not None, "asked only where the recipe has it"
        self.run_dir, self.world, self.config, self.files = run, world, config, run.stage(SFT)
        seed_everything(run.config.seed, SFT)
        base = run.first_policy(SFT)
        tokenizer = AutoTokenizer.from_pretrained(base)
        causal_lm = load_causal_lm(base, run.config.policy, world.device)
        self.rows = load_rows(run, tokenizer, causal_lm.generation_config)
        steps = whole_batches(len(self.rows.train), config.batch_sequences, config.epochs)
        self.num_steps = min(steps, config.max_steps or steps)
        self.learner = Learner(
            causal_lm, run.config.training, config.optimizer, world, lora=config.lora, lora_field="sft.lora"
        )
        self.layout = choose_layout(run.config.training, self.learner.causal_lm)
        self.nonfinite = NonfiniteGuard("policy", run.config.guard.max_nonfinite_updates)
        self.validation = self._micro_batches(self.rows.validation)
        self.saver = CheckpointSaver(
            self.learner,
            config=run.config,
            key=run.keys.sft(),
            tokenizer=tokenizer,
            prompts=[tuple(sample.prompt_ids) for sample in self.rows.train],
        )

    def run(self) -> None:
        """From the last checkpoint, or from the beginning, to the last step."""
        if self.world.is_first:
            print(self._plan(), flush=True)
        last_step, last_line = resume(
            SFT, self.files.checkpoints, self.run_dir.keys.sft(), self.learner, self.nonfinite, restore_checkpoint
        )
        loop = SupervisedLoop(
            f"train {SFT}",
            self.files,
            self.saver,
            self.world,
            num_steps=self.num_steps,
            save_every=self.run_dir.config.checkpoint.every_steps,
        )
        loop.run(
            last_step,
            last_line,
            before=lambda: {"stage": SFT, "validation_loss": self._validation_loss()},
            step=self._step,
            state=lambda: {"seed": self.run_dir.config.seed, "nonfinite_in_a_row": self.nonfinite.in_a_row},
            tracker=Tracker(self.run_dir, SFT, enabled=self.world.is_first),
            figures=("loss_sft", "tokens_per_second"),
        )
        if self.world.is_first:
            self._write_summary()

    def _step(self, step: int) -> dict[str, Any]:
        """One optimizer update without its checkpoint; its line of metrics."""
        seed_everything(self.run_dir.config.seed, SFT, step, self.world.rank)
        config, clock = self.config, Clock()
        rate = cosine_rate(config.optimizer, step, self.num_steps)
        with clock("step"):
            self.learner.set_learning_rate(rate)
            samples = self._samples(step)
            batches = self._micro_batches(samples)
            with clock("train"):
                update = self.learner.update(
                    batches, TEMPERATURE, lambda batch, logprobs, _: negative_log_likelihood(batch, logprobs)
                )
            self.nonfinite.see(update)
            measured = {}
            if step % config.validation_every_steps == 0 or step == self.num_steps:
                with clock("measure"):
                    measured["validation_loss"] = self._validation_loss()
        num_tokens = sum(sample.num_tokens for sample in samples)
        return {
            "stage": SFT,
            "epoch": (step - 1) * config.batch_sequences // len(self.rows.train),
            "loss_sft": update.loss if update.applied else None,
            "grad_norm": update.grad_norm if update.applied else None,
            "nonfinite_updates": int(not update.applied),
            "learning_rate": rate,
            "trained_tokens": sum(len(sample.response_ids) for sample in samples),
            "padding_fraction": self._padding_fraction(batches),
            "rows_set_aside": self.rows.num_set_aside,
            "measure_seconds": 0.0,
            **clock.seconds,
            "save_seconds": 0.0,
            "tokens_per_second": num_tokens / clock.seconds["train_seconds"],
            "peak_memory_bytes": peak_memory_bytes(self.world.device),
            **measured,
        }

    def _samples(self, step: int) -> list[Sample]:
        """The rows of one update, of all ranks together."""
        size, rows = self.config.batch_sequences, self.rows.train
        position = (step - 1) * size
        chosen = problems_at(position, size, num_problems=len(rows), seed=self.run_dir.config.seed, stage=SFT)
        return [rows[index] for index in chosen]

    def _micro_batches(self, samples: list[Sample]) -> list[MicroBatch]:
        world = self.world
        return micro_batches(
            weighted_alike(samples), self.layout, rank=world.rank, num_ranks=world.size, device=world.device
        )

    def _validation_loss(self) -> float:
        """On the rows that are held out. A collective call."""
        logprobs, _ = self.learner.logprobs(self.validation, TEMPERATURE)
        parts = [
            negative_log_likelihood(batch, of_batch) for batch, of_batch in zip(self.validation, logprobs, strict=True)
        ]
        (total,) = self.world.sum([float(torch.stack(parts).double().sum())])
        return total

    def _padding_fraction(self, batches: list[MicroBatch]) -> float:
        own = [sum(float(batch.waste_mask.sum()) for batch in batches), sum(float(b.tokens.numel()) for b in batches)]
        wasted, computed = self.world.sum(own)
        return wasted / computed

    def _plan(self) -> str:
        rows, causal_lm = self.rows, self.learner.causal_lm
        return (
            f"{SFT}: {self.num_steps} steps on {len(rows.train)} rows, {len(rows.validation)} held out, "
            f"{rows.num_set_aside} longer than {self.config.max_tokens} tokens set aside; "
            f"{attention_of(causal_lm)} attention, in {self.layout}"
        )

    def _write_summary(self) -> None:
        losses = [loss for loss in recorded_values(self.files.metrics, "validation_loss") if loss is not None]
        checkpoint: Path = self.files.checkpoint(self.num_steps)
        summary = {
            "status": "complete",
            "stage": SFT,
            "steps": self.num_steps,
            "checkpoint": str(checkpoint.relative_to(self.files.root)),
            "rows": len(self.rows.train),
            "rows_held_out": len(self.rows.validation),
            "rows_set_aside": self.rows.num_set_aside,
            "model_digest": None,
            "hf": None,
            "evaluation": None,
            "validation_loss": {"before": losses[0], "after": losses[-1]},
        }
        write_json(self.files.summary, summary)
