"""What can be known of a recipe's inputs before anything starts: files and folders on this machine.

What is on a hub is looked at by the stage that fetches it, and so is the inside of a parquet file where pyarrow is not
installed, as on a worker that only starts runs. Called by the command line; reads, and writes nothing.
"""

import importlib.util
from pathlib import Path

from rl_core.config import RecipeConfig
from rl_core.evaluation.benchmarks import OF_THE_RUN
from rl_core.manifest import read_json
from rl_core.models.adapter_settings import read_lora, require_shape
from rl_core.models.critic_source import check_critic_folder
from rl_core.models.reward_source import check_reward_folder
from rl_core.models.settings import check_context
from rl_core.models.source import ModelFolder, model_folder
from rl_core.plan import DONE, base_part, publish_part, sources_part
from rl_core.publishing.account import require_account
from rl_core.run_dir import RunDir
from rl_core.tracking import require_credentials


def check_inputs(run: RunDir) -> None:
    """Look at the rewards and the chat template, and at the local data sets and model that are not taken in yet.

    Raises:
        MistakeError: a file is missing, empty or unreadable, a reward's options, a function of the user's own, a reward
            model or a critic's model are wrong, the chat template renders no problem, a stage is longer than the
            model's context, or a credential that the recipe needs is not there.
    """
    _check_rewards(run.config)
    check_text(run.config)
    if sources_part(run).state != DONE:
        _check_data(run.config)
        _check_answers(run.config)
    if base_part(run).state != DONE:
        _check_model(run.config)
    check_critic_folder(run.config)
    _check_benchmarks(run.config)
    require_credentials(run.config)
    _check_first_adapter(run.config)
    if run.config.publish is not None and publish_part(run).state != DONE:
        require_account(run.config)


def check_text(config: RecipeConfig) -> None:
    """Look at what the recipe itself holds of other languages: its chat template.

    Raises:
        MistakeError: it is no Jinja, or shows no problem.
    """
    if config.data.chat_template is not None:
        from rl_core.data.chat_template import check_chat_template

        check_chat_template(config.data.chat_template, config.data)


def _check_rewards(config: RecipeConfig) -> None:
    from rl_core.rewards import Scorer

    Scorer(config.rewards)
    check_reward_folder(config)


def _check_data(config: RecipeConfig) -> None:
    for split, dataset in (("train", config.data.train), ("test", config.data.test)):
        if dataset.source == "path":
            from rl_core.data.local import data_files
            from rl_core.data.raw import read_rows

            for file in data_files(Path(dataset.path or "").expanduser(), f"data.{split}"):
                if file.suffix.lower() != ".parquet" or importlib.util.find_spec("pyarrow") is not None:
                    read_rows(file, f"data.{split}", dataset)


def _check_benchmarks(config: RecipeConfig) -> None:
    from rl_core.evaluation.benchmark_files import check_local

    for benchmark in config.evaluation.benchmarks:
        if benchmark not in OF_THE_RUN:
            check_local(benchmark, config.evaluation.benchmark_folder, "evaluation.benchmark")


def _check_answers(config: RecipeConfig) -> None:
    """Of what is fine-tuned on, where it is here: that there are files, and in each the columns that are named."""
    if config.sft is None or config.sft.data.source != "path":
        return
    from rl_core.data.local import data_files
    from rl_core.data.raw import stream_rows

    traces = config.sft.data
    for file in data_files(Path(traces.path or "").expanduser(), "sft.data"):
        if file.suffix.lower() != ".parquet" or importlib.util.find_spec("pyarrow") is not None:
            next(stream_rows(file, "sft.data", traces.columns), None)


def _check_model(config: RecipeConfig) -> None:
    if config.policy.model_name == "embedded":
        return
    folder = model_folder(config.policy.model_name, "policy.model_name")
    if folder is None:
        return
    ModelFolder(folder, "policy.model_name").check()
    settings = {**read_json(folder / "config.json"), **config.policy.hf_config_overrides}
    context = settings.get("max_position_embeddings")
    check_context(config, context if isinstance(context, int) else None)


def _check_first_adapter(config: RecipeConfig) -> None:
    lora = config.policy.lora
    if lora is not None and lora.folder is not None:
        folder, field = Path(lora.folder).expanduser(), "policy.lora"
        require_shape(read_lora(folder, f"{field}.folder"), lora, field, folder)
