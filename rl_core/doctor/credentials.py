"""Who the run is to hubs and trackers. Says whether a token is set, never what it is.

That a key of Weights & Biases is there, where one is needed, is for `preflight` to see.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator

from rl_core.config import RecipeConfig
from rl_core.doctor.finding import Finding, ok, stop
from rl_core.modelscope import TOKEN_VARIABLE
from rl_core.tracking import DEFAULT_ADDRESS

SECONDS = 10.0


def credentials(config: RecipeConfig) -> Iterator[Finding]:
    """Those that the recipe makes use of."""
    datasets = (config.data.train, config.data.test)
    on_hub = config.policy.model_name != "embedded" or any(dataset.source == "hub" for dataset in datasets)
    if on_hub:
        token = "HF_TOKEN is set" if _hub_token() else "no token of Hugging Face: what is public can be read"
        yield ok("credentials", token)
    if config.policy.hub == "modelscope":
        there = "is set" if os.environ.get(TOKEN_VARIABLE) else "is not set: what is public can be read"
        yield ok("credentials", f"{TOKEN_VARIABLE} {there}")
    if config.tracking.wandb == "online":
        yield _wandb()


def _hub_token() -> bool:
    """Whether the hub's client would find one: in the environment, or where its login has put it."""
    try:
        from huggingface_hub import get_token
    except ImportError:
        return bool(os.environ.get("HF_TOKEN"))
    return get_token() is not None


def _wandb() -> Finding:
    address = os.environ.get("WANDB_BASE_URL", DEFAULT_ADDRESS)
    try:
        urllib.request.urlopen(address, timeout=SECONDS).close()
    except urllib.error.HTTPError:  # it answers
        pass
    except (OSError, ValueError) as error:
        do = "check the connection and WANDB_BASE_URL, or set tracking.wandb=offline"
        return stop("Weights & Biases", f"{address} does not answer: {getattr(error, 'reason', error)}", do)
    return ok("Weights & Biases", f"{address} answers")
