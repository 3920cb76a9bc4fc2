"""The model that the first stage starts from, as a Hugging Face folder in the run: made here, fetched, or copied."""

from pathlib import Path

from rl_core.cache import CACHE_VARIABLE, cache_folder
from rl_core.config import EmbeddedConfig
from rl_core.data.parquet import load_problems
from rl_core.data.prompt import prompt_messages
from rl_core.evaluation.prompts import RECORD, prompt_record, trained_prompt
from rl_core.manifest import locked, publishing, read_manifest
from rl_core.models.critic_source import take_critic
from rl_core.models.settings import check_description, override_settings, set_chat_template
from rl_core.models.source import ModelFolder, find_model
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir


def make_base_model(run: RunDir) -> None:
    """Fill the run's base folder, where that is not done, and take the critic's own model, which must fit it.

    Raises:
        MistakeError: there is no such model, or the recipe cannot be run with it.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    if finished_part(run.base, run.keys.base()) is not None:
        print("base model: already there")
        take_critic(run, run.base)
        return
    policy = run.config.policy
    source = _embedded(run) if policy.model_name == "embedded" else find_model(policy)
    if isinstance(source, ModelFolder):
        source.check()
    known = trained_prompt(source.folder) if isinstance(source, ModelFolder) else None
    record = {} if known is None else {RECORD: prompt_record(known)}
    with publishing(run.base, key=run.keys.base(), source=policy.model_name, **record) as folder:
        source.take_description(folder)
        override_settings(folder, policy.hf_config_overrides)
        set_chat_template(folder, run.config.data.chat_template)
        check_description(folder, run.config)
        take_critic(run, folder)
        source.take_weights(folder)


def _embedded(run: RunDir) -> ModelFolder:
    """The embedded model, from the cache of models warmed up before; made where it is not there.

    One process makes it while others wait, each model in a folder of its own, on which the lock is.
    """
    own = cache_folder("base") / run.keys.base()
    own.mkdir(parents=True, exist_ok=True)
    model = own / "model"
    with locked(own, wait=True):
        if read_manifest(model) is None:
            assert run.config.embedded is not None, "the schema requires the section where the model is embedded"
            with publishing(model, key=run.keys.base()) as fresh:
                _warm_up(run, run.config.embedded, fresh)
        else:
            print(f"base model: from the cache {model}")
    return ModelFolder(model, CACHE_VARIABLE)


def _warm_up(run: RunDir, embedded: EmbeddedConfig, directory: Path) -> None:
    from rl_core.embedded.warm_up import warm_up

    held_out = {
        problem.problem for name in ("test", "probe") for problem in load_problems(run.data / f"{name}.parquet")
    }
    warm_up(
        embedded,
        lambda problem: prompt_messages(problem, run.config.data),
        held_out,
        chat_template=run.config.data.chat_template,
        seed=run.config.seed,
        directory=directory,
    )
