"""The training of the reward model: pairs, updates, held-out pairs, checkpoints, and what it ended with.

Every rank runs all of it; what only one may do asks `world.is_first`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoTokenizer

from rl_core.config import RewardModelConfig
from rl_core.errors import MistakeError
from rl_core.manifest import read_manifest, write_json
from rl_core.memory import peak_memory_bytes
from rl_core.models.sequence_scores import load_sequence_scores
from rl_core.preference.batching import TokenizedPair, pair_batches
from rl_core.preference.checkpoint import Probe, RewardSaver, restore_checkpoint
from rl_core.preference.examples import Examples, load_examples
from rl_core.preference.learner import RewardLearner
from rl_core.preference.measures import ScoredPairs, measures, over_problems, wins
from rl_core.run_dir import RunDir
from rl_core.supervised.loop import SupervisedLoop, resume, whole_batches
from rl_core.tracking import Tracker
from rl_core.training.clock import Clock
from rl_core.training.guard import NonfiniteGuard
from rl_core.training.layout import choose_layout
from rl_core.training.sampler import problems_at
from rl_core.training.schedule import cosine_rate
from rl_core.world import World, seed_everything

WORK = "reward model"
FIELD: Literal["reward_model"] = "reward_model"
MATCHED_RATIO = 1.1  # of lengths, within which pairs count as matched when it is measured
PROBE_PAIRS = 2


def train(run: RunDir, config: RewardModelConfig) -> None:
    """Train to the last step, on this process as one rank of those that torchrun started."""
    world = World.join()
    try:
        RewardTraining(run, config, world).run()
    finally:
        world.leave()


class RewardTraining:
    """The training on one rank."""

    def __init__(self, run: RunDir, config: RewardModelConfig, world: World) -> None:
        self.run_dir, self.config, self.world = run, config, world
        self.files, self.key = run.reward_model_training, run.keys.reward_model_training()
        self.seed = run.config.seed
        seed_everything(self.seed, FIELD)  # of which A of the adapter is drawn
        start = run.first_policy(0)
        tokenizer = AutoTokenizer.from_pretrained(start)
        self.train_pairs = load_examples(run.pairs / "train.parquet", tokenizer, config.max_tokens)
        self.held_out = load_examples(run.pairs / "held_out.parquet", tokenizer, config.max_tokens)
        if len(self.train_pairs.pairs) < config.batch_pairs:
            raise MistakeError(
                f"reward_model.batch_pairs is {config.batch_pairs}, but there are {len(self.train_pairs.pairs)} pairs "
                "to train on: lower it, or make more pairs (pairs.num_rows, pairs.num_samples)"
            )
        scores = load_sequence_scores(start, run.config.policy, world.device, lora=config.lora)
        self.learner = RewardLearner(scores, run.config.training, config.optimizer, world)
        self.layout = choose_layout(run.config.training, scores.classifier)
        self.nonfinite = NonfiniteGuard(WORK, run.config.guard.max_nonfinite_updates)
        self.steps = whole_batches(len(self.train_pairs.pairs), config.batch_pairs, config.epochs)

    def run(self) -> None:
        """From the last checkpoint, or from the beginning, to the last step and what is said of it."""
        last_step, last_line = resume(
            WORK, self.files.checkpoints, self.key, self.learner, self.nonfinite, restore_checkpoint
        )
        if self.world.is_first:
            print(f"{WORK}: {self._data()}; updates in {self.layout}", flush=True)
        loop = SupervisedLoop(
            WORK,
            self.files,
            RewardSaver(self.learner, self._probe, config=self.run_dir.config, key=self.key),
            self.world,
            num_steps=self.steps,
            save_every=self.run_dir.config.checkpoint.every_steps,
        )
        loop.run(
            last_step,
            last_line,
            before=lambda: {"stage": FIELD, **self._validation()},
            step=self._step,
            state=lambda: {"seed": self.seed, "nonfinite_in_a_row": self.nonfinite.in_a_row},
            tracker=Tracker(self.run_dir, FIELD, enabled=self.world.is_first),
            figures=("loss_reward_model", "pair_accuracy"),
        )
        self._summarise()

    def batch_of(self, step: int) -> list[TokenizedPair]:
        """The pairs of a step, each with its share of the loss."""
        pairs, size = self.train_pairs.pairs, self.config.batch_pairs
        chosen = problems_at((step - 1) * size, size, num_problems=len(pairs), seed=self.seed, stage=FIELD)
        return [replace(pairs[index], weight=1 / size) for index in chosen]

    def scored(self, examples: Examples) -> ScoredPairs:
        """Every pair of a file with the scores that the model gives now. A collective call."""
        scores = self._scores(examples.pairs)
        rows = examples.rows
        problems = {problem: number for number, problem in enumerate(dict.fromkeys(row.index for row in rows))}
        return ScoredPairs(
            problems=np.array([problems[row.index] for row in rows]),
            chosen_scores=scores[:, 0],
            rejected_scores=scores[:, 1],
            chosen_tokens=np.array([row.chosen_tokens for row in rows], np.float64),
            rejected_tokens=np.array([row.rejected_tokens for row in rows], np.float64),
            from_model=np.array([row.chosen_from == "model" for row in rows]),
        )

    def _scores(self, pairs: Sequence[TokenizedPair]) -> np.ndarray[Any, np.dtype[np.float64]]:
        batches = self._batches(pairs)
        own = {
            place: row.tolist()
            for batch, scores in zip(batches, self.learner.scores(batches), strict=True)
            for place, row in zip(batch.places, scores, strict=False)  # a batch without places has a pair to fill it
        }
        everyones = {place: row for share in self.world.gather(own) for place, row in share.items()}
        return np.array([everyones[pair.place] for pair in pairs], np.float64)

    def _batches(self, pairs: Sequence[TokenizedPair]) -> list[Any]:
        world = self.world
        return pair_batches(pairs, self.layout, rank=world.rank, num_ranks=world.size, device=world.device)

    def _step(self, step: int) -> dict[str, Any]:
        """One update without its checkpoint; its line of metrics."""
        seed_everything(self.seed, FIELD, step, self.world.rank)
        clock, pairs = Clock(), self.batch_of(step)
        rate = cosine_rate(self.config.optimizer, step, self.steps)
        with clock("step"):
            self.learner.set_learning_rate(rate)
            with clock("train"):
                update = self.learner.update(self._batches(pairs), self.config.centering)
            self.nonfinite.see(update)
            right, margin = self.world.sum([self.learner.num_right, self.learner.margin])
            measured = {}
            if step % self.config.validation_every_steps == 0 or step == self.steps:
                with clock("measure"):
                    measured = self._validation()
        tokens = sum(pair.num_tokens for pair in pairs)
        return {
            "stage": FIELD,
            "epoch": (step - 1) * self.config.batch_pairs // len(self.train_pairs.pairs),
            "loss_reward_model": update.loss if update.applied else None,
            "grad_norm": update.grad_norm if update.applied else None,
            "pair_accuracy": right / len(pairs),
            "pair_margin_mean": margin / len(pairs),
            "nonfinite_updates": int(not update.applied),
            "learning_rate": rate,
            "measure_seconds": 0.0,
            **clock.seconds,
            "save_seconds": 0.0,
            "tokens_per_second": tokens / clock.seconds["train_seconds"],
            "peak_memory_bytes": peak_memory_bytes(self.world.device),
            **measured,
        }

    def _validation(self) -> dict[str, Any]:
        """On the held-out pairs. A collective call."""
        scored = self.scored(self.held_out)
        return {
            "validation_pair_loss": float(np.logaddexp(0.0, -scored.margins).mean()),
            "validation_pair_accuracy": over_problems(wins(scored.margins), scored.problems)["value"],
        }

    def _probe(self) -> Probe:
        """A few held-out conversations, and what the model says of them. A collective call."""
        pairs = [replace(pair, place=place) for place, pair in enumerate(self.held_out.pairs[:PROBE_PAIRS])]
        sequences = [ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids)]
        return Probe(sequences, torch.tensor(self._scores(pairs), dtype=torch.float32).reshape(-1, 1))

    def _data(self) -> str:
        train, held_out = self.train_pairs, self.held_out
        set_aside = train.num_too_long + held_out.num_too_long
        return (
            f"{len(train.pairs)} pairs to train on, {len(held_out.pairs)} held out, {set_aside} with a conversation of "
            f"more than {self.config.max_tokens} tokens (reward_model.max_tokens) set aside"
        )

    def _summarise(self) -> None:
        """Measure the finished model on both files, and write what it is. A collective call."""
        held_out, train = self.scored(self.held_out), self.scored(self.train_pairs)
        if self.world.is_first:
            write_json(self.files.summary, self._summary(held_out, train))
        self.world.barrier()  # every rank reads it

    def _summary(self, held_out: ScoredPairs, train: ScoredPairs) -> dict[str, Any]:
        scores = np.concatenate([held_out.chosen_scores, held_out.rejected_scores])
        manifest = read_manifest(self.run_dir.pairs)
        assert manifest is not None, "the training is started with its pairs alone"
        return {
            "status": "complete",
            "steps": self.steps,
            "epochs": self.config.epochs,
            "checkpoint": str(self.files.checkpoint(self.steps).relative_to(self.files.root)),
            "pairs": {
                **manifest["pairs"],
                "too_long": {"train": self.train_pairs.num_too_long, "held_out": self.held_out.num_too_long},
            },
            "held_out": measures(held_out, train, matched_ratio=MATCHED_RATIO),
            "train": {
                "loss": float(np.logaddexp(0.0, -train.margins).mean()),
                "accuracy": over_problems(wins(train.margins), train.problems),
            },
            "scores": {"mean": float(scores.mean()), "std": float(scores.std())},
        }
