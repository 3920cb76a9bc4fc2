"""Who the run is to hubs and trackers. Says whether a token is set, never what it is."""

import netrc
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from rl_core.config import RecipeConfig
from rl_core.doctor.finding import Finding, ok, stop
from rl_core.modelscope import TOKEN_VARIABLE

WANDB_KEY, WANDB_ADDRESS = "WANDB_API_KEY", "WANDB_BASE_URL"
WANDB_DEFAULT = "https://api.wandb.ai"
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
    address = os.environ.get(WANDB_ADDRESS, WANDB_DEFAULT)
    if not os.environ.get(WANDB_KEY) and not _in_netrc(urlsplit(address).hostname or ""):
        do = f"set {WANDB_KEY}, run `wandb login`, or leave tracking.wandb offline and upload later"
        return stop("Weights & Biases", "tracking.wandb is online, and there is no key", do)
    try:
        urllib.request.urlopen(address, timeout=SECONDS).close()
    except urllib.error.HTTPError:  # it answers
        pass
    except (OSError, ValueError) as error:
        do = f"check the connection and {WANDB_ADDRESS}, or set tracking.wandb=offline"
        return stop("Weights & Biases", f"{address} does not answer: {getattr(error, 'reason', error)}", do)
    return ok("Weights & Biases", f"a key is set, and {address} answers")


def _in_netrc(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
