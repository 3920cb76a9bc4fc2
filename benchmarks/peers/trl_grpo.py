"""TRL's GRPOTrainer on the work of one of our stages. Started by `benchmarks.training_step` in an environment with TRL.

The same model, problems, prompts, reward, sampling temperature, limits, group size, updates, denominators, clipping,
optimizer and precision as ours. What TRL does otherwise stays as it comes: transformers' generate, its batching, its
shuffling, 1e-4 added to the spread of a group's rewards.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from rl_core.data.parquet import load_problems
from rl_core.rewards.boxed import boxed
from rl_core.rewards.sample import Sample


class Journal(TrainerCallback):
    """One line for each rollout-and-update step, written when its last update is done."""

    def __init__(self, file: Path, updates_per_step: int) -> None:
        self._file, self._updates_per_step = file, updates_per_step
        self._rewards: list[float] = []
        self._tokens = 0

    def reward(
        self, completions: Sequence[Any], completion_ids: Sequence[Any], answer: Sequence[str], **_: object
    ) -> list[float]:
        """TRL's reward function: our boxed exact match."""
        responses = [chat[-1]["content"] for chat in completions]
        pairs = zip(responses, answer, strict=True)
        scores = [score or 0.0 for score in boxed([Sample(response, gold, False) for response, gold in pairs])]
        self._rewards += scores
        self._tokens += sum(len(ids) for ids in completion_ids)
        return scores

    def on_step_end(self, args: object, state: Any, control: object, **_: object) -> None:
        """After each optimizer update."""
        if state.global_step % self._updates_per_step:
            return
        line = {
            "step": state.global_step // self._updates_per_step,
            "reward_mean": sum(self._rewards) / len(self._rewards),
            "response_tokens_mean": self._tokens / len(self._rewards),
            "moment": time.time(),
        }
        with self._file.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")
        self._rewards, self._tokens = [], 0


def main() -> None:
    """Train, and save the model."""
    options = _options()
    problems = load_problems(options.problems)
    data = Dataset.from_dict(
        {
            "prompt": [list(problem.messages) for problem in problems],
            "answer": [problem.answer for problem in problems],
        }
    )
    updates = options.prompts * options.group // options.minibatch
    journal = Journal(options.journal, updates)
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32),
        reward_funcs=journal.reward,
        args=_settings(options, updates),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(options.model, padding_side="left"),
        callbacks=[journal],
    )
    trainer.train()
    trainer.save_model(str(options.out))


def _settings(options: argparse.Namespace, updates: int) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(options.out),
        per_device_train_batch_size=options.minibatch,
        gradient_accumulation_steps=1,
        steps_per_generation=updates,
        num_generations=options.group,
        max_completion_length=options.limit,
        max_steps=options.steps * updates,
        temperature=1.0,
        beta=0.0,  # no reference policy
        epsilon=0.2,
        loss_type="bnpo",  # the mean over the tokens of an update, as our token_mean
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=0.9,
        adam_beta2=0.99,
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=False,  # TRL's default is True
        gradient_checkpointing=False,  # TRL's default is True
        use_cpu=True,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        seed=options.seed,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder of the first policy")
    parser.add_argument("--problems", type=Path, required=True, help="a run's train.parquet")
    parser.add_argument("--journal", type=Path, required=True, help="file for one line a step")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    for name in ("limit", "steps", "prompts", "group", "minibatch", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
