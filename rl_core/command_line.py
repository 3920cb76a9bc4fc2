"""The commands of `python -m rl_core` and their options."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rl_core import commands
from rl_core.config import SFT, StageIndex
from rl_core.errors import MistakeError
from rl_core.evaluation.command_line import OF_THE_PROTOCOL, add_options

# Options that do nothing without one of others, by command.
PARTNERS: dict[str, dict[str, tuple[str, ...]]] = {
    "convert": {"hf_ckpt_path": ("step", "dcp_ckpt_path"), "base_model": ("dcp_ckpt_path",)},
    "evaluate": dict.fromkeys((*OF_THE_PROTOCOL, "output"), ("model_dir", "data_name")),
}
OF_A_STAGE = ("stage", "step")  # which a checkpoint that is given by its folder is not of

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parse(arguments: Sequence[str], description: str) -> argparse.Namespace:
    """The options, and what to do: `do_alone(options)` where it is set, else `do(run, options)`.

    Exits with code 2 and a message where there is no such command or option.
    """
    parser = argparse.ArgumentParser(prog="python -m rl_core", description=description)
    subcommands = parser.add_subparsers(required=True, metavar="STAGE")
    for name, (do, caption) in commands.STAGES.items():
        command = subcommands.add_parser(name, help=caption, description=caption)
        _add_recipe(command)
        command.add_argument("--stage", type=_stage_index, help="stage of the recipe, counted from 0; or sft")
        _add_overrides(command, "stages.0.steps=100")
        command.set_defaults(do=do, do_alone=None, stage_name=name)
        if name == "convert":
            _add_folder_options(command)
        elif name == "evaluate":
            add_options(command)
    _add_grade(subcommands)
    _add_doctor(subcommands)
    _add_reevaluation(subcommands)
    _add_compare(subcommands)
    options = parser.parse_args(arguments)
    if getattr(options, "model_dir", None) or getattr(options, "data_name", None):
        options.do_alone = commands.evaluate_folder
    options.arguments = list(arguments)  # for workers, which are asked the same
    return options


def refuse_idle_options(options: argparse.Namespace) -> None:
    """See that no option was given that would do nothing.

    Raises:
        MistakeError: one was.
    """

    def given(name: str) -> bool:
        return getattr(options, name, None) is not None

    for name, partners in PARTNERS.get(getattr(options, "stage_name", ""), {}).items():
        if given(name) and not any(map(given, partners)):
            needed = " or ".join(map(_option, partners))
            raise MistakeError(f"{_option(name)} does nothing without {needed}: give that too, or leave it out")
    for name in filter(given, OF_A_STAGE):
        if given("dcp_ckpt_path"):
            raise MistakeError(f"{_option(name)} is for a checkpoint of a run, and --dcp-ckpt-path for one of none")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _stage_index(text: str) -> StageIndex:
    return SFT if text == SFT else int(text)


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, help="the recipe (default: the embedded one)")
    command.add_argument("--run-dir", type=Path, help="default: runs/<name of the recipe>")


def _add_overrides(command: argparse.ArgumentParser, example: str) -> None:
    command.add_argument("overrides", nargs="*", metavar="key=value", help=f"for example {example}")


def _add_folder_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--step", type=int, help="of the stage: a checkpoint saved on the way, to --hf-ckpt-path")
    group = command.add_argument_group("a checkpoint that is not part of a run, of this trainer or another")
    group.add_argument("--dcp-ckpt-path", type=Path, help="the torch.distributed.checkpoint folder")
    group.add_argument("--hf-ckpt-path", type=Path, help="where the converted model goes; must not exist")
    group.add_argument("--base-model", help="folder or hub name with the configuration and tokenizer")


def _alone(
    subcommands: Subcommands, name: str, do: Callable[[argparse.Namespace], None], caption: str, more: str = ""
) -> argparse.ArgumentParser:
    """A command that is part of no run."""
    command = subcommands.add_parser(name, help=caption, description=caption + more)
    command.set_defaults(do_alone=do)
    return command


def _add_grade(subcommands: Subcommands) -> None:
    caption = "grade the response on standard input, or a file of them, and explain; part of no run"
    command = _alone(subcommands, "grade", commands.grade, caption)
    asked = command.add_mutually_exclusive_group(required=True)
    asked.add_argument("--gold", help="the right answer to the response on standard input")
    asked.add_argument("--jsonl", type=Path, help="a file with `response` and `gold` in each line, as JSON")


def _add_doctor(subcommands: Subcommands) -> None:
    caption = "what would stop a run here, before it starts: versions, devices, disk, credentials, model and data"
    command = _alone(subcommands, "doctor", commands.doctor, caption)
    _add_recipe(command)
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    _add_overrides(command, "rollout.engine=vllm")


def _add_reevaluation(subcommands: Subcommands) -> None:
    for name, do, caption in (
        ("revisions", commands.revisions, "look up which commits the named revisions of hub models stand for"),
        (
            "leaderboard",
            commands.leaderboard,
            "compare and judge what was evaluated under a folder of runs, and write it",
        ),
    ):
        command = _alone(subcommands, name, do, caption, more="; a part of flows.reevaluate")
        command.add_argument("--config", type=Path, help="settings of the re-evaluation (default: those shipped)")
        command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: runs)")


def _add_compare(subcommands: Subcommands) -> None:
    caption = "two evaluations side by side, paired over problems, and what it would take to tell them apart"
    command = _alone(subcommands, "compare", commands.compare, caption)
    command.add_argument("before", type=Path, help="results of the first model: a JSON file, or its folder of them")
    command.add_argument("after", type=Path, help="results of the second")
    command.add_argument("--json", action="store_true", help="print JSON")
