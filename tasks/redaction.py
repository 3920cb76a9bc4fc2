"""Credentials never reach a log: where a stage writes one, whoever reads sees its name."""

import os

CREDENTIALS = ("HF_TOKEN", "WANDB_API_KEY", "MODELSCOPE_API_TOKEN")  # that stages read
OTHERS = ("HUGGING_FACE_HUB_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")  # that libraries read
MIN_LENGTH = 6  # a shorter value is no credential, and may be part of any word


def redacted(line: str) -> str:
    """The line with each credential of this process's environment replaced by its name."""
    for name in (*CREDENTIALS, *OTHERS):
        value = os.environ.get(name, "")
        if len(value) >= MIN_LENGTH:
            line = line.replace(value, f"[{name}]")
    return line
