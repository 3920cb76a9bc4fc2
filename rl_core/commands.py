"""What each command of `python -m rl_core` does; what is heavy is imported by the command that needs it.

First the stages of a run, which STAGES lists with what they are for; then the commands that are part of no run.
"""

import argparse
from collections.abc import Callable

from rl_core.config import SFT, StageIndex, load_reevaluation
from rl_core.errors import MistakeError
from rl_core.run_dir import RunDir


def download(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.data.download import download_sources
    from rl_core.evaluation.problems import take_benchmarks
    from rl_core.rollout.choose import choose_engine

    choose_engine(run.config.rollout)  # the first part of a run: a sampler that is missing is told here
    download_sources(run)
    take_benchmarks(run)


def prepare(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.data.prepare import prepare_data
    from rl_core.evaluation.problems import take_benchmarks

    take_benchmarks(run)
    prepare_data(run)


def warm_up(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.models.base import make_base_model
    from rl_core.models.reward_source import take_reward_model

    take_reward_model(run)
    make_base_model(run)


def sft(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.supervised.launch import fine_tune

    fine_tune(run)


def pairs(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.preference.pairs import make_pairs

    make_pairs(run)


def reward_model(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.preference.launch import train_reward_model

    train_reward_model(run)


def train(run: RunDir, options: argparse.Namespace) -> None:
    from rl_core.training.launch import train_stage

    index = asked_stage(options)
    if index == SFT:
        raise MistakeError("--stage sft: its training is a command of its own: `python -m rl_core sft`")
    train_stage(run, index)


def convert(run: RunDir, options: argparse.Namespace) -> None:
    from rl_core.checkpoint.convert import convert_checkpoint, convert_folder, convert_stage

    asked = options.dcp_ckpt_path is not None or options.step is not None
    if asked and options.hf_ckpt_path is None:
        raise MistakeError("--hf-ckpt-path DIR is needed: where the converted model goes")
    if not asked:
        convert_stage(run, asked_stage(options))
    elif options.step is not None:
        convert_checkpoint(run, asked_stage(options), options.step, options.hf_ckpt_path)
    else:
        convert_folder(options.dcp_ckpt_path, options.hf_ckpt_path, base_model=options.base_model, config=run.config)


def evaluate(run: RunDir, options: argparse.Namespace) -> None:
    from rl_core.evaluation.launch import evaluate_stage

    evaluate_stage(run, options.stage)


def publish(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.publishing.publish import publish_model

    publish_model(run)


def report(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.report import write_report

    print(f"report: {write_report(run)}")


def asked_stage(options: argparse.Namespace) -> StageIndex:
    if options.stage is None:
        raise MistakeError("--stage N is needed: which stage of the recipe, counted from 0")
    index: StageIndex = options.stage
    return index


STAGES: dict[str, tuple[Callable[[RunDir, argparse.Namespace], None], str]] = {
    "download": (download, "fetch the data sets and benchmarks, and record which revision"),
    "prepare": (prepare, "turn them into parquet; downloads first where that is not done"),
    "warm-up": (warm_up, "make, or fetch, the model that the first stage starts from, a reward model and a critic's"),
    "sft": (sft, "fine-tune the base model on given answers, where the recipe has `sft`"),
    "pairs": (pairs, "sample preference pairs from the first policy, where the recipe has `pairs`"),
    "reward-model": (
        reward_model,
        "train a reward model on the pairs, where the recipe has `reward_model`",
    ),
    "train": (train, "train one stage (--stage N); continues from its last checkpoint"),
    "convert": (convert, "convert a stage's last checkpoint (--stage N, or sft) to Hugging Face format, verified"),
    "evaluate": (
        evaluate,
        "evaluate a stage's model (--stage N, or sft), or the base model; or any model (--model-dir DIR)",
    ),
    "report": (report, "write report.md, report.html and the pictures"),
    "publish": (publish, "upload the model and its card to a hub, where the recipe has `publish`"),
}

# What is made of a run, in the words of the plan; the time of these is recorded.
PARTS = {
    "download": "download",
    "prepare": "data",
    "warm-up": "base model",
    "sft": "train sft",
    "pairs": "pairs",
    "reward-model": "reward model",
    "train": "train {stage}",
    "convert": "convert {stage}",
    "evaluate": "evaluate {stage}",
}


def evaluate_folder(options: argparse.Namespace) -> None:
    from rl_core.evaluation import command

    command.evaluate_folder(options)


def compare(options: argparse.Namespace) -> None:
    from rl_core.evaluation.compare_command import compare_results

    compare_results(options.before, options.after, as_json=options.json)


def grade(options: argparse.Namespace) -> None:
    from rl_core.rewards import command

    command.grade(options)


def doctor(options: argparse.Namespace) -> None:
    from rl_core.doctor import command

    command.doctor(options)


def revisions(options: argparse.Namespace) -> None:
    from rl_core.leaderboard.hub import resolve_revisions

    resolve_revisions(options.runs, load_reevaluation(options.config))


def leaderboard(options: argparse.Namespace) -> None:
    from rl_core.leaderboard.write import write_leaderboard

    print(f"leaderboard: {write_leaderboard(options.runs, load_reevaluation(options.config))}")
