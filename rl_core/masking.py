"""What must not leave the machine with a configuration or a message: values that are, or look like, credentials."""

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "[not shown]"
# Ends of names: `api_key` and `hf_token`, but not `max_new_tokens`. `pad_token` is one too, and is masked in vain.
# `auth_string` is Prefect's, a user and a password.
SECRET_NAME = re.compile(
    r"(^|[_.-])(token|secret|password|passwd|credentials?|auth_string|(api|access|private|secret)_?key)$", re.I
)
PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")  # scheme://user:password@host
SHORTEST = 8  # characters; a shorter value of the environment would be found in any text by chance


def without_secrets(value: Any) -> Any:
    """The same JSON-like value with credentials masked.

    Masked are values under the name of a credential, passwords in addresses, and, wherever they are, the values of the
    environment's variables that have such a name.
    """
    return _masked(value, _of_environment())


def _masked(value: Any, known: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            name: MASK if isinstance(inner, str) and inner and SECRET_NAME.search(str(name)) else _masked(inner, known)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    text = PASSWORD_IN_URL.sub(MASK, value)
    for secret in known:
        text = text.replace(secret, MASK)
    return text


def _of_environment() -> list[str]:
    found = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST}
    return sorted(found, key=len, reverse=True)  # one that contains another first
