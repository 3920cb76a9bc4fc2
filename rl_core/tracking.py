"""Weights & Biases: the figures of metrics.jsonl, all stages of a run under one id (`sft` under its own), resumed.

Offline by default: the run is written below the run's folder, and `wandb sync` uploads it later. Whatever Weights &
Biases does, a training goes on: the first failure is told, and what follows is left to metrics.jsonl.
"""

import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from netrc import NetrcParseError, netrc
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from rl_core.config import RecipeConfig, StageIndex
from rl_core.errors import MistakeError
from rl_core.manifest import read_json, write_json
from rl_core.masking import without_secrets
from rl_core.run_dir import RunDir

INIT_SECONDS = 30.0  # for the first answer; without a bound a training waits for a host that is away
FINISH_SECONDS = 15.0  # for the last upload; a stage that is stopped has less than 25 s in all
STEP_AXIS = "recipe_step"
GOES_ON = "The training goes on; metrics.jsonl has every figure."
OFFLINE_INSTEAD = f"It is written offline instead, for `wandb sync`. {GOES_ON}"
DEFAULT_ADDRESS = "https://api.wandb.ai"  # wandb's own, where WANDB_BASE_URL is not set


class Tracker:
    """Logs one stage. Use as a context manager; does nothing where tracking is disabled."""

    def __init__(self, run: RunDir, index: StageIndex | Literal["reward_model"], *, enabled: bool) -> None:
        self._run, self._index = run, index
        self._mode = run.config.tracking.wandb if enabled else "disabled"
        self._wandb: Any = None

    def __enter__(self) -> Self:
        if self._mode == "online":
            self._try("did not start", lambda: self._begin("online"), OFFLINE_INSTEAD)
        if self._mode != "disabled" and self._wandb is None:
            self._try("did not start offline", lambda: self._begin("offline"))
        return self

    def log(self, metrics: dict[str, Any]) -> None:
        """One line of metrics, at its step of the whole recipe."""
        if self._wandb is None:
            return
        numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
        before = 0 if isinstance(self._index, str) else self._index
        step = metrics["step"] + sum(stage.steps for stage in self._run.config.stages[:before])
        # Each stage has a line 0, so that W&B's own count of lines is ahead of the steps by one for each stage before.
        # A line that was logged before a kill comes again with its old number, and W&B leaves it out.
        values = {**numbers, STEP_AXIS: step, "stage_number": before + 1}
        self._try("failed", lambda: self._wandb.log(values, step=step + before))

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._wandb is not None:
            wandb = self._wandb
            self._try("has not taken everything", lambda: wandb.finish(exit_code=0 if kind is None else 1))

    def _begin(self, mode: Literal["online", "offline"]) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        tracking, identity = self._run.config.tracking, run_id(self._run)
        self._wandb = wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            mode=mode,
            dir=self._run.root,
            id=f"{identity}-{self._index}" if isinstance(self._index, str) else identity,
            name=f"{self._run.config.name} {self._index}" if isinstance(self._index, str) else self._run.config.name,
            group=self._run.config.name,
            config=without_secrets(self._run.config.model_dump(mode="json")),
            resume="allow",
            settings=wandb.Settings(
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
                console="off",  # the figures are asked for; what the process prints is not
                disable_code=True,
                x_disable_meta=True,  # the command line among them, where overrides may hold a credential
            ),
        )
        self._wandb.define_metric(STEP_AXIS)
        self._wandb.define_metric("*", step_metric=STEP_AXIS)
        if self._wandb.url and not isinstance(self._index, str):
            write_json(tracking_file(self._run), {"id": identity, "url": self._wandb.url})

    def _try(self, what_failed: str, do: Callable[[], None], then: str = GOES_ON) -> None:
        """Do it; where that fails say so, and what happens then, and let go of Weights & Biases."""
        try:
            do()
        except Exception as error:  # a service of others must not end a training, whatever it raises
            self._wandb = None
            _end_service()
            reason = without_secrets(" ".join(str(error).split()) or type(error).__name__)
            print(f"WARNING Weights & Biases {what_failed}: {reason}. {then}", file=sys.stderr, flush=True)


def _end_service() -> None:
    """End wandb's own process, which holds the run's id, before its end at exit fails with a traceback."""
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        with suppress(Exception):
            wandb.teardown()


def require_credentials(config: RecipeConfig) -> None:
    """Raise MistakeError where a recipe wants to upload and there is no key to do it with; asks nobody."""
    if config.tracking.wandb != "online" or {"WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"} & set(os.environ):
        return
    host = urlsplit(os.environ.get("WANDB_BASE_URL", DEFAULT_ADDRESS)).hostname or ""
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        known = file.is_file() and netrc(str(file)).authenticators(host) is not None
    except (OSError, NetrcParseError):
        known = False
    if not known:
        raise MistakeError(
            f"tracking.wandb is 'online', but there is no key for {host}: set WANDB_API_KEY, run `wandb login`, or "
            "take tracking.wandb=offline, which uploads nothing"
        )


def tracking_file(run: RunDir) -> Path:
    """Where it is noted which run of Weights & Biases a run is."""
    return run.root / "tracking.json"


def run_id(run: RunDir) -> str:
    """The id of this run there: drawn once and kept with the run, so that it lasts when the folder is moved."""
    noted = read_json(tracking_file(run))
    if noted is None:
        noted = {"id": secrets.token_hex(8), "url": None}
        write_json(tracking_file(run), noted)
    return str(noted["id"])


def run_url(run: RunDir) -> str | None:
    """The page of this run on Weights & Biases; None where it has none."""
    noted = read_json(tracking_file(run)) or {}
    return noted.get("url")
