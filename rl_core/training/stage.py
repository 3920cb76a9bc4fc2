"""The training of one stage: sample, score, advantage, update, synchronise, record, save.

Read `StageTraining._step` first. Every rank runs all of it; what only one may do asks `world.is_first`.
"""

from contextlib import closing
from typing import Any

from transformers import AutoTokenizer

from rl_core.algorithms.divergences import adapted_coefficient
from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import complete_checkpoints, restore_checkpoint
from rl_core.errors import GuardStop, Interrupted
from rl_core.memory import peak_memory_bytes
from rl_core.models.reward_source import local_rewards
from rl_core.progress import Progress
from rl_core.rewards import Scorer
from rl_core.rollout.collect import Collector, response_metrics
from rl_core.run_dir import RunDir
from rl_core.tracking import Tracker
from rl_core.training.clock import Clock
from rl_core.training.critic import Critic
from rl_core.training.drawing import Drawing, Drawn
from rl_core.training.figures import Figures
from rl_core.training.guard import SamplerGuard, stop_message
from rl_core.training.measure import Measurements
from rl_core.training.partitions import create_moments
from rl_core.training.parts import layout_of, make_critic, make_learner, make_reference, start_sampler
from rl_core.training.problems import load_stage_problems
from rl_core.training.records import cut_metrics, recorded_values, write_metrics, write_rollouts
from rl_core.training.roles import make_judge, make_shared_base
from rl_core.training.samples import informative_groups, rewards_of, samples_of
from rl_core.training.schedule import learning_rate
from rl_core.training.signals import StopRequest
from rl_core.training.step import StepTrainer, Trained
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
        self.tokenizer = AutoTokenizer.from_pretrained(run.model_below(index))
        self.problems = load_stage_problems(run, index, self.tokenizer)
        base = make_shared_base(run, index, world)
        self.learner = make_learner(run, index, world, base)
        self.critic = make_critic(run, index, self.learner, base)
        self.engine = start_sampler(run, index, world)
        scorer = Scorer(local_rewards(run), make_judge(run, index, base))
        collector = Collector(self.engine, self.tokenizer, scorer, world)
        self.drawing = Drawing(collector, self.problems, self.stage, seed=self.config.seed, index=index)
        self.measurements = Measurements(collector, self.problems, self.config)
        self.trainer = self._step_trainer()
        self.saver = CheckpointSaver(
            self.learner,
            config=self.config,
            key=run.keys.stage(index),
            tokenizer=self.tokenizer,
            prompts=[problem.prompt_ids for problem in self.problems.train],
            critic=self.critic,
        )
        self.guard = SamplerGuard(self.config.guard)
        self.position = 0  # in the order of problems, after the last step that is done
        self.last_metrics: dict[str, Any] = {}  # of that step

    def _step_trainer(self) -> StepTrainer:
        rollout, critic = self.stage.rollout, self.config.critic
        return StepTrainer(
            self.learner,
            make_reference(self.run_dir, self.index, self.learner),
            self.stage.algorithm,
            num_samples=rollout.num_samples,
            temperature=rollout.temperature,
            layout=layout_of(self.run_dir, self.index, self.learner),
            normalizer_tokens=self.stage.max_response_tokens,
            critic=self.critic,
            value_clip=critic.value_clip if critic else None,
            value_coefficient=critic.value_coefficient if critic else 0.0,
            guard=self.config.guard,
        )

    def run(self) -> None:
        """From the last checkpoint, or from the beginning, to the last step."""
        with StopRequest() as stop:
            self._train(self._resume() + 1, stop)
        if self.world.is_first:
            write_summary(self.run_dir, self.index)

    def _train(self, first_step: int, stop: StopRequest) -> None:
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

    def _step(self, step: int) -> dict[str, Any]:
        """One rollout-and-update step without its checkpoint; its line of metrics."""
        seed_everything(self.config.seed, "step", self.index, step, self.world.rank)
        clock, figures, algorithm = Clock(), Figures(), self.stage.algorithm
        with clock("step"):
            rates = self._set_learning_rates(step)
            drawn = self.drawing.draw(step, self.position)
            self.engine.sleep()
            samples = samples_of(drawn.trained, self.stage.rollout.num_samples, algorithm)
            with clock("logprob"):
                updates = self.trainer.prepared(samples, figures)
            with clock("train"):
                policy = critic = Trained()
                if self._only_the_critic_learns(step):
                    self._check_sampler(step, figures)
                else:
                    policy = self.trainer.train_policy(updates, figures, lambda: self._check_sampler(step, figures))
                if self.critic is not None:
                    critic = self.trainer.train_critic(updates, figures)
            with clock("sync"):
                synchronize(self.learner, self.engine, step)
            with clock("measure"):
                measured = self.measurements.take() if self._is_due(step, self.config.validation.every_steps) else {}
        if self.world.is_first and self._is_due(step, self.config.tracking.rollouts_every_steps):
            write_rollouts(self.files.rollouts / f"step_{step:06d}.parquet", drawn.sampled)
        metrics = {
            "stage": self.stage.name,
            "step": step,
            "policy_version": step - 1,
            **self._metrics_of_rollouts(drawn),
            "loss_policy": policy.loss,
            "grad_norm": policy.grad_norm,
            "loss_value": critic.loss,
            "critic_grad_norm": critic.grad_norm,
            "nonfinite_updates": policy.num_left_out + critic.num_left_out,
            **figures.over_ranks(self.world),
            "kl_coefficient": self.trainer.kl_coefficient,
            **rates,
            "prompts_set_aside": self.problems.num_set_aside,
            **clock.seconds,
            "save_seconds": 0.0,
            "generate_seconds": drawn.generate_seconds,
            "score_seconds": drawn.score_seconds,
            "tokens_per_second": _num_tokens(drawn) / clock.seconds["step_seconds"],
            "peak_memory_bytes": peak_memory_bytes(self.world.device),
            **measured,
        }
        if not self._only_the_critic_learns(step):
            self._adapt_kl_coefficient(metrics["kl_ref_mean"], len(samples))
        self.position = drawn.position
        return metrics

    def _set_learning_rates(self, step: int) -> dict[str, float | None]:
        rates: dict[str, float | None] = {"learning_rate": learning_rate(self.stage.optimizer, step)}
        self.learner.set_learning_rate(learning_rate(self.stage.optimizer, step))
        rates["critic_learning_rate"] = None
        if isinstance(self.critic, Critic) and self.config.critic is not None:
            rates["critic_learning_rate"] = learning_rate(self.config.critic.optimizer, step)
            self.critic.set_learning_rate(learning_rate(self.config.critic.optimizer, step))
        return rates

    def _only_the_critic_learns(self, step: int) -> bool:
        critic = self.config.critic
        return critic is not None and self.index == 0 and step <= critic.warmup_steps

    def _metrics_of_rollouts(self, drawn: Drawn) -> dict[str, Any]:
        algorithm, size = self.stage.algorithm, self.stage.rollout.num_samples
        uninformative = ~informative_groups(rewards_of(drawn.trained), size)
        return {
            **response_metrics(drawn.sampled),
            "generate_tail_fraction": drawn.tail_fraction,
            "sampled_batches": len(drawn.batches),
            "zero_advantage_group_fraction": float(uninformative.double().mean()) if algorithm.in_groups else None,
            "overlong_filtered_fraction": (
                sum(rollout.truncated for rollout in drawn.trained) / len(drawn.trained)
                if algorithm.overlong_filtering
                else None
            ),
        }

    def _adapt_kl_coefficient(self, divergence: float | None, num_responses: int) -> None:
        algorithm = self.stage.algorithm
        if algorithm.kl_target is not None and divergence is not None:
            self.trainer.kl_coefficient = adapted_coefficient(
                self.trainer.kl_coefficient,
                divergence,
                target=algorithm.kl_target,
                horizon=algorithm.kl_horizon,
                num_responses=num_responses,
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
        checkpoints = complete_checkpoints(self.files.checkpoints, self.run_dir.keys.stage(self.index))
        step, last_line = 0, None
        if checkpoints:
            state = restore_checkpoint(checkpoints[-1], self.learner, self.critic)
            step, last_line, self.position = int(state["step"]), state["metrics"], int(state["data"]["position"])
            self.trainer.kl_coefficient = state["kl_coefficient"]
            for name, guard in self.trainer.nonfinite.items():
                guard.in_a_row = state["nonfinite_in_a_row"][name]
            if self.world.is_first:
                print(f"stage {self.stage.name}: continues after step {step}", flush=True)
        else:
            create_moments(self.learner, 0)
            if isinstance(self.critic, Critic):  # the other kind has its moments in the learner's optimizer
                create_moments(self.critic, 0)
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
        state = {
            "step": step,
            "policy_version": step,
            "seed": self.config.seed,
            "data": {"position": self.position, "epoch": self.position // len(self.problems.train)},
            "kl_coefficient": self.trainer.kl_coefficient,
            "nonfinite_in_a_row": {name: guard.in_a_row for name, guard in self.trainer.nonfinite.items()},
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


def _num_tokens(drawn: Drawn) -> int:
    return sum(len(rollout.problem.prompt_ids) + len(rollout.completion.token_ids) for rollout in drawn.sampled)
