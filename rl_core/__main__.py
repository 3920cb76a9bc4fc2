"""`python -m rl_core <stage> --config FILE`: one stage of a run, by hand, under Slurm or from a task.

Reads the configuration before anything heavy is imported, so that a mistake is told in a second.
"""

import argparse
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rl_core.config import load_config, load_reevaluation
from rl_core.devices import ON_DEVICES, devices_of
from rl_core.environment import prepare_environment
from rl_core.errors import (
    EXIT_GUARD,
    EXIT_INTERRUPTED,
    EXIT_MISTAKE,
    EXIT_OUT_OF_MEMORY,
    GuardStop,
    Interrupted,
    MistakeError,
)
from rl_core.evaluation.command_line import add_options
from rl_core.out_of_memory import is_out_of_memory
from rl_core.process_guard import guard_process
from rl_core.run_dir import SFT, RunDir, StageIndex
from rl_core.stacks import answer_with_stacks
from rl_core.work import recorded


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; the exit code is that of `rl_core.errors`."""
    options = _parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)  # for workers, which are asked the same
    guard_process()
    answer_with_stacks()
    prepare_environment()
    # torch's collectives and checkpoints warn of their own older names, and of being used without other ranks.
    warnings.filterwarnings("ignore", module=r"torch\.distributed")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.")
    try:
        with _devices(options):
            if options.alone(options):
                options.do_alone(options)
            else:
                _run_stage(_opened_run(options), options)
    except MistakeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return EXIT_MISTAKE
    except GuardStop as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return EXIT_GUARD
    except Interrupted as interruption:
        return interruption.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.print_exc()
        print(f"out of memory: {error}", file=sys.stderr)
        return EXIT_OUT_OF_MEMORY
    return 0


def _devices(options: argparse.Namespace) -> AbstractContextManager[None]:
    """The machine's devices for this stage alone, where it computes on them."""
    name = getattr(options, "stage_name", None)
    return devices_of(f"{name} in {options.run_dir or Path.cwd()}") if name in ON_DEVICES else nullcontext()


def _opened_run(options: argparse.Namespace) -> RunDir:
    config = load_config(options.config, options.overrides)
    if options.stage == SFT and config.sft is None:
        raise MistakeError("--stage sft: the recipe has no section `sft`")
    if options.stage not in (None, SFT) and not 0 <= options.stage < len(config.stages):
        raise MistakeError(f"--stage {options.stage}: the recipe has {len(config.stages)} stages, counted from 0")
    return RunDir(options.run_dir or Path("runs") / config.name, config)


def _run_stage(run: RunDir, options: argparse.Namespace) -> None:
    part = PARTS.get(options.stage_name)
    of_no_part = any(getattr(options, name, None) is not None for name in ("dcp_ckpt_path", "step"))
    if part is None or of_no_part:
        options.do(run, options)
        return
    stage = "base" if options.stage is None else run.stage_name(options.stage)
    with recorded(run.work, part.format(stage=stage)):
        options.do(run, options)


def _grade(options: argparse.Namespace) -> None:
    from rl_core.rewards.command import grade

    grade(options)


def _doctor(options: argparse.Namespace) -> None:
    from rl_core.doctor.command import doctor

    doctor(options)


def _revisions(options: argparse.Namespace) -> None:
    from rl_core.leaderboard.hub import resolve_revisions

    resolve_revisions(options.runs, load_reevaluation(options.config))


def _leaderboard(options: argparse.Namespace) -> None:
    from rl_core.leaderboard.write import write_leaderboard

    print(f"leaderboard: {write_leaderboard(options.runs, load_reevaluation(options.config))}")


def _download(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.data.download import download_sources
    from rl_core.evaluation.problems import take_benchmarks
    from rl_core.rollout.choose import choose_engine

    choose_engine(run.config.rollout)  # the first part of a run: a sampler that is missing is told here
    download_sources(run)
    take_benchmarks(run)


def _prepare(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.data.prepare import prepare_data
    from rl_core.evaluation.problems import take_benchmarks

    take_benchmarks(run)
    prepare_data(run)


def _warm_up(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.models.base import make_base_model
    from rl_core.models.reward_source import take_reward_model

    take_reward_model(run)
    make_base_model(run)


def _sft(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.supervised.launch import fine_tune

    fine_tune(run)


def _pairs(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.preference.pairs import make_pairs

    make_pairs(run)


def _reward_model(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.preference.launch import train_reward_model

    train_reward_model(run)


def _train(run: RunDir, options: argparse.Namespace) -> None:
    from rl_core.training.launch import train_stage

    index = _stage(options)
    if index == SFT:
        raise MistakeError("--stage sft: its training is a command of its own: `python -m rl_core sft`")
    train_stage(run, index)


def _convert(run: RunDir, options: argparse.Namespace) -> None:
    from rl_core.checkpoint.convert import convert_checkpoint, convert_folder, convert_stage

    asked = options.dcp_ckpt_path is not None or options.step is not None
    if asked and options.hf_ckpt_path is None:
        raise MistakeError("--hf-ckpt-path DIR is needed: where the converted model goes")
    if not asked:
        convert_stage(run, _stage(options))
    elif options.step is not None:
        convert_checkpoint(run, _stage(options), options.step, options.hf_ckpt_path)
    else:
        convert_folder(options.dcp_ckpt_path, options.hf_ckpt_path, base_model=options.base_model, config=run.config)


def _evaluate(run: RunDir, options: argparse.Namespace) -> None:
    from rl_core.evaluation.launch import evaluate_stage

    evaluate_stage(run, options.stage)


def _evaluate_folder(options: argparse.Namespace) -> None:
    from rl_core.evaluation.command import evaluate_folder

    evaluate_folder(options)


def _compare(options: argparse.Namespace) -> None:
    from rl_core.evaluation.compare_command import compare_results

    compare_results(options.before, options.after, as_json=options.json)


def _publish(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.publishing.publish import publish_model

    publish_model(run)


def _report(run: RunDir, _: argparse.Namespace) -> None:
    from rl_core.report import write_report

    print(f"report: {write_report(run)}")


STAGES: dict[str, tuple[Callable[[RunDir, argparse.Namespace], None], str]] = {
    "download": (_download, "fetch the data sets and benchmarks, and record which revision"),
    "prepare": (_prepare, "turn them into parquet; downloads first where that is not done"),
    "warm-up": (_warm_up, "make, or fetch, the model that the first stage starts from, and a reward model"),
    "sft": (_sft, "fine-tune the base model on given answers, where the recipe has `sft`"),
    "pairs": (_pairs, "sample preference pairs from the first policy, where the recipe has `pairs`"),
    "reward-model": (
        _reward_model,
        "train a reward model on the pairs, where the recipe has `reward_model`",
    ),
    "train": (_train, "train one stage (--stage N); continues from its last checkpoint"),
    "convert": (_convert, "convert a stage's last checkpoint (--stage N, or sft) to Hugging Face format, verified"),
    "evaluate": (
        _evaluate,
        "evaluate a stage's model (--stage N, or sft), or the base model; or any model (--model-dir DIR)",
    ),
    "report": (_report, "write report.md, report.html and the pictures"),
    "publish": (_publish, "upload the model and its card to a hub, where the recipe has `publish`"),
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


def _stage(options: argparse.Namespace) -> StageIndex:
    if options.stage is None:
        raise MistakeError("--stage N is needed: which stage of the recipe, counted from 0")
    index: StageIndex = options.stage
    return index


def _stage_index(text: str) -> StageIndex:
    return SFT if text == SFT else int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rl_core", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True, metavar="STAGE")
    for name, (do, caption) in STAGES.items():
        command = commands.add_parser(name, help=caption, description=caption)
        command.add_argument("--config", type=Path, help="the recipe (default: the embedded one)")
        command.add_argument("--run-dir", type=Path, help="default: runs/<name of the recipe>")
        command.add_argument("--stage", type=_stage_index, help="stage of the recipe, counted from 0; or sft")
        command.add_argument("overrides", nargs="*", metavar="key=value", help="for example stages.0.steps=100")
        command.set_defaults(do=do, alone=lambda options: False)
        if name == "convert":
            _add_folder_options(command)
        elif name == "evaluate":
            add_options(command)
            command.set_defaults(
                alone=lambda options: options.model_dir or options.data_name, do_alone=_evaluate_folder
            )
        command.set_defaults(stage_name=name)
    _add_grade(commands)
    _add_doctor(commands)
    _add_reevaluation(commands)
    _add_compare(commands)
    return parser


def _add_reevaluation(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, do, caption in (
        ("revisions", _revisions, "look up which commits the named revisions of hub models stand for"),
        ("leaderboard", _leaderboard, "compare and judge what was evaluated under a folder of runs, and write it"),
    ):
        command = commands.add_parser(name, help=caption, description=f"{caption}; a part of flows.reevaluate")
        command.add_argument("--config", type=Path, help="settings of the re-evaluation (default: those shipped)")
        command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: runs)")
        command.set_defaults(alone=lambda options: True, do_alone=do)


def _add_grade(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    caption = "grade the response on standard input, or a file of them, and explain; part of no run"
    command = commands.add_parser("grade", help=caption, description=caption)
    asked = command.add_mutually_exclusive_group(required=True)
    asked.add_argument("--gold", help="the right answer to the response on standard input")
    asked.add_argument("--jsonl", type=Path, help="a file with `response` and `gold` in each line, as JSON")
    command.set_defaults(alone=lambda options: True, do_alone=_grade)


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    caption = "two evaluations side by side, paired over problems, and what it would take to tell them apart"
    command = commands.add_parser("compare", help=caption, description=caption)
    command.add_argument("before", type=Path, help="results of the first model: a JSON file, or its folder of them")
    command.add_argument("after", type=Path, help="results of the second")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(alone=lambda options: True, do_alone=_compare)


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    caption = "what would stop a run here, before it starts: versions, devices, disk, credentials, model and data"
    command = commands.add_parser("doctor", help=caption, description=caption)
    command.add_argument("--config", type=Path, help="the recipe (default: the embedded one)")
    command.add_argument("--run-dir", type=Path, help="default: runs/<name of the recipe>")
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for example rollout.engine=vllm")
    command.set_defaults(alone=lambda options: True, do_alone=_doctor)


def _add_folder_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--step", type=int, help="of the stage: a checkpoint saved on the way, to --hf-ckpt-path")
    group = command.add_argument_group("a checkpoint that is not part of a run, of this trainer or another")
    group.add_argument("--dcp-ckpt-path", type=Path, help="the torch.distributed.checkpoint folder")
    group.add_argument("--hf-ckpt-path", type=Path, help="where the converted model goes; must not exist")
    group.add_argument("--base-model", help="folder or hub name with the configuration and tokenizer")


if __name__ == "__main__":
    sys.exit(main())
