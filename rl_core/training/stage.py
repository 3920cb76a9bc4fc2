"""The training of one stage: sample, score, advantage, update, synchronise, record, save.

Read `StageTraining._step` first. Every rank runs all of it; what only one may do asks `world.is_first`.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import complete_checkpoints, restore_checkpoint
from rl_core.errors import GuardStop, Interrupted
from rl_core.memory import peak_memory_bytes
from rl_core.models.load import attention_of, load_causal_lm
from rl_core.models.reward_source import local_rewards
from rl_core.progress import Progress
from rl_core.rewards import Scorer
from rl_core.rollout.choose import choose_engine
from rl_core.rollout.collect import Collected, Collector, response_metrics
from rl_core.rollout.concurrency import tail_fraction
from rl_core.rollout.engine import RolloutEngine, Sampling
from rl_core.rollout.start import start_engine
from rl_core.run_dir import RunDir
from rl_core.tracking import Tracker
from rl_core.training.clock import Clock
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.guard import SamplerGuard, stop_message
from rl_core.training.launch import first_policy
from rl_core.training.layout import choose_layout
from rl_core.training.learner import Learner
from rl_core.training.measure import Measurements
from rl_core.training.problems import load_stage_problems
from rl_core.training.records import cut_metrics, recorded_values, write_metrics, write_rollouts
from rl_core.training.reference import AdapterOff, FrozenCopy, ReferencePolicy
from rl_core.training.sampler import problems_of_step
from rl_core.training.schedule import learning_rate
from rl_core.training.signals import StopRequest
from rl_core.training.step import StepTrainer
from rl_core.training.summary import write_summary
from rl_core.training.synchronize import synchronize
from rl_core.world import World, seed_everything


def train(run: RunDir, index: int) -> None:
    """Train stage `index` to its last step, on this process as one rank of those that torchrun started."""
    world = World.join()
    try:
        training = StageTraining(run, index, world)
        with closing(training.engine):
            training.run()
    finally:
        world.leave()


class StageTraining:
    """One stage on one rank."""

    def __init__(self, run: RunDir, index: int, world: World) -> None:
        self.run_dir, self.index, self.world = run, index, world
        self.config, self.stage, self.files = run.config, run.config.stages[index], run.stage(index)
        seed_everything(self.config.seed, "stage", index)
        start = first_policy(run, index)
        self.tokenizer = AutoTokenizer.from_pretrained(start)
        self.problems = load_stage_problems(run, index, self.tokenizer)
        self.learner = Learner(
            self._load(start), self.config.training, self.stage.optimizer, world, lora=self.config.policy.lora
        )
        self.engine = self._start_engine(start)
        self.collector = Collector(self.engine, self.tokenizer, Scorer(local_rewards(run)), world)
        self.trainer = StepTrainer(
            self.learner,
            self._reference(start),
            self.stage.algorithm,
            temperature=self.stage.rollout.temperature,
            layout=self._layout(),
        )
        self.measurements = Measurements(self.collector, self.problems, self.config)
        self.saver = CheckpointSaver(
            self.learner,
            config=self.config,
            key=run.stage_key(index),
            tokenizer=self.tokenizer,
            prompts=[problem.prompt_ids for problem in self.problems.train],
        )
        self.guard = SamplerGuard(self.config.guard)
        self.last_metrics: dict[str, Any] = {}  # of the last step that is done

    def run(self) -> None:
        """From the last checkpoint, or from the beginning, to the last step."""
        stop = StopRequest()
        first_step = self._resume() + 1
        tracker = Tracker(self.run_dir, self.index, enabled=self.world.is_first)
        work = f"train {self.stage.name}"
        with Progress(work, self.stage.steps, enabled=self.world.is_first) as progress, tracker, self.saver:
            if first_step == 1:
                self._record({"stage": self.stage.name, "step": 0, **self.measurements.take()}, tracker)
            for step in range(first_step, self.stage.steps + 1):
                metrics = self._step(step)
                self._save_if_due(step, metrics)
                self._record(metrics, tracker)
                progress.update(
                    step,
                    reward=metrics["reward_mean"] or 0.0,
                    response_tokens=metrics["response_tokens_mean"],
                    tokens_per_second=metrics["tokens_per_second"],
                )
                self._stop_if_asked(stop, step, metrics)
        if self.world.is_first:
            write_summary(self.run_dir, self.index)

    def _step(self, step: int) -> dict[str, Any]:
        """One rollout-and-update step without its checkpoint; its line of metrics."""
        seed_everything(self.config.seed, "step", self.index, step, self.world.rank)
        clock = Clock()
        with clock("step"):
            rate = learning_rate(self.stage.optimizer, step)
            self.learner.set_learning_rate(rate)
            collected = self._collect(step)
            self.engine.sleep()
            figures = Figures()
            samples, no_advantage = self.trainer.samples(collected.rollouts, self.stage.rollout.num_samples)
            with clock("logprob"):
                updates = self.trainer.with_fixed_logprobs(self.trainer.updates(samples), figures)
            with clock("train"):
                loss, grad_norm = self.trainer.train(updates, figures, lambda: self._check_sampler(step, figures))
            with clock("sync"):
                synchronize(self.learner, self.engine, step)
            with clock("measure"):
                measured = self.measurements.take() if self._is_due(step, self.config.validation.every_steps) else {}
        if self.world.is_first and self._is_due(step, self.config.tracking.rollouts_every_steps):
            write_rollouts(self.files.rollouts / f"step_{step:06d}.parquet", collected.rollouts)
        tokens = sum(len(r.problem.prompt_ids) + len(r.completion.token_ids) for r in collected.rollouts)
        return {
            "stage": self.stage.name,
            "step": step,
            "policy_version": step - 1,
            **response_metrics(collected.rollouts),
            "generate_tail_fraction": tail_fraction([rollout.completion for rollout in collected.rollouts]),
            "zero_advantage_group_fraction": no_advantage,
            "loss_policy": loss,
            "grad_norm": grad_norm,
            **figures.over_ranks(self.world),
            "learning_rate": rate,
            "prompts_set_aside": self.problems.num_set_aside,
            **clock.seconds,
            "save_seconds": 0.0,
            "generate_seconds": collected.generate_seconds,
            "score_seconds": collected.score_seconds,
            "tokens_per_second": tokens / clock.seconds["step_seconds"],
            "peak_memory_bytes": peak_memory_bytes(self.world.device),
            **measured,
        }

    def _collect(self, step: int) -> Collected:
        rollout = self.stage.rollout
        chosen = problems_of_step(
            step,
            num_prompts=rollout.num_prompts,
            num_problems=len(self.problems.train),
            seed=self.config.seed,
            stage=self.index,
        )
        return self.collector.collect(
            [self.problems.train[index] for index in chosen],
            self.problems.limits,
            Sampling(rollout.temperature),
            num_samples=rollout.num_samples,
            seed=(self.config.seed, "rollout", self.index, step),
        )

    def _check_sampler(self, step: int, figures: Figures) -> None:
        """Stop where sampler and trainer disagree past a bound, with the state of the step before saved."""
        objection = self.guard.objection(figures.over_ranks(self.world))
        if objection is None:
            return
        if step == 1:
            raise GuardStop(stop_message(step, objection, "nothing was trained before it"))
        self._keep(step - 1, self.last_metrics)
        raise GuardStop(stop_message(step, objection, f"the state after step {step - 1} is saved"))

    def _record(self, metrics: dict[str, Any], tracker: Tracker) -> None:
        self.last_metrics = metrics
        if self.world.is_first:
            write_metrics(self.files.metrics, metrics)
            tracker.log(metrics)

    def _resume(self) -> int:
        """Restore the newest checkpoint; returns its step, 0 where there is none."""
        checkpoints = complete_checkpoints(self.files.checkpoints, self.run_dir.stage_key(self.index))
        step, last_line = 0, None
        if checkpoints:
            state = restore_checkpoint(checkpoints[-1], self.learner)
            step, last_line = int(state["step"]), state["metrics"]
            if self.world.is_first:
                print(f"stage {self.stage.name}: continues after step {step}", flush=True)
        if self.world.is_first:
            self.files.root.mkdir(parents=True, exist_ok=True)
            cut_metrics(self.files.metrics, step, last_line)
        errors = recorded_values(self.files.metrics, "sampler_logprob_error_mean") if self.world.is_first else []
        self.guard.remember(self.world.gather(errors)[0])
        synchronize(self.learner, self.engine, step)
        return step

    def _save_if_due(self, step: int, metrics: dict[str, Any]) -> None:
        """Start a checkpoint where one is due, and add the time that it holds the step up; wait for the last one."""
        if self._is_due(step, self.config.checkpoint.every_steps):
            clock = Clock()
            with clock("save"):
                self._save(step, metrics)
                if step == self.stage.steps:
                    self.saver.finish()
            metrics.update(clock.seconds, step_seconds=metrics["step_seconds"] + clock.seconds["save_seconds"])
            metrics["save_background_seconds"] = self.saver.write_seconds

    def _save(self, step: int, metrics: dict[str, Any]) -> None:
        position = step * self.stage.rollout.num_prompts
        state = {
            "step": step,
            "policy_version": step,
            "seed": self.config.seed,
            "data": {"position": position, "epoch": position // len(self.problems.train)},
            "metrics": metrics,
        }
        self.saver.save(self.files.checkpoint(step), state)

    def _keep(self, step: int, metrics: dict[str, Any]) -> None:
        """See to it that the state after `step`, which is the present one, is on disk."""
        checkpoint = self.files.checkpoint(step)
        if self.saver.latest != checkpoint and not checkpoint.exists():
            self._save(step, metrics)
        self.saver.finish()

    def _stop_if_asked(self, stop: StopRequest, step: int, metrics: dict[str, Any]) -> None:
        """End between two steps, on every rank at once, when any was asked to by a signal."""
        (asked,) = self.world.sum([float(stop.exit_code or 0)])
        if not asked:
            return
        self._keep(step, metrics)
        raise Interrupted(stop.exit_code or Interrupted().exit_code)

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.stage.steps

    def _load(self, folder: Path) -> PreTrainedModel:
        return load_causal_lm(folder, self.config.policy, self.world.device)

    def _start_engine(self, start: Path) -> RolloutEngine:
        rollout = self.stage.rollout
        choice = choose_engine(rollout)
        if self.world.is_first:
            print(f"stage {self.stage.name}: {choice}", flush=True)
        return start_engine(
            choice,
            start,
            self.config.policy,
            rollout,
            context_tokens=self.stage.context_tokens,
            max_concurrent_sequences=rollout.max_concurrent_sequences,
            beside_learner=True,
            world=self.world,
        )

    def _layout(self) -> Layout:
        policy = self.learner.causal_lm
        layout = choose_layout(self.config.training, policy)
        if self.world.is_first:
            print(f"stage {self.stage.name}: updates with {attention_of(policy)} attention, in {layout}", flush=True)
        return layout

    def _reference(self, start: Path) -> ReferencePolicy | None:
        if not self.stage.algorithm.kl_coefficient:
            return None
        if self.config.policy.lora is not None:
            return AdapterOff(self.learner)
        return FrozenCopy(self._load(start), self.config.training, self.world)
