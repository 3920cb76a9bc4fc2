"""Whether a run may publish what it is asked to: looked at before it starts, since it ends days later."""

import os
from typing import Any

from rl_core.config import RecipeConfig
from rl_core.config.publishing import PublishConfig
from rl_core.errors import MistakeError
from rl_core.masking import without_secrets
from rl_core.publishing.license import license_of

TOKEN_VARIABLE = "HF_TOKEN"
MAY_WRITE = ("admin", "write", "contributor")  # roles in an organisation
NOT_NOW = "or leave `publish` out and publish later, with `python -m rl_core publish`"


def require_account(config: RecipeConfig) -> None:
    """Ask the hub who the token is of and what it may do, and find out the licence.

    Raises:
        MistakeError: there is no token, the hub does not take it or cannot be asked, it may not write, the repository
            is not under a name of its owner, or the licence is not known.
    """
    if config.publish is None:
        return
    account = _who_am_i(config.publish)
    _require_writing(account, config.publish)
    try:
        license_of(config)
    except ConnectionError as error:
        raise MistakeError(f"{error}; give publish.license, {NOT_NOW}") from None


def token() -> str:
    """The token of the environment; no other is looked for.

    Raises:
        MistakeError: there is none.
    """
    found = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not found:
        raise MistakeError(
            f"publish: {TOKEN_VARIABLE} is not set: set it to a token of the hub that may write, {NOT_NOW}"
        )
    return found


def _who_am_i(publish: PublishConfig) -> dict[str, Any]:
    secret = token()
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    hub = f"{constants.ENDPOINT} (HF_ENDPOINT)"
    try:
        return dict(HfApi(token=secret).whoami())
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise MistakeError(
                f"publish: {hub} does not take {TOKEN_VARIABLE} ({status}): renew it, {NOT_NOW}"
            ) from None
        raise MistakeError(
            f"publish: {hub} did not say who {TOKEN_VARIABLE} is of ({status}): try again, {NOT_NOW}"
        ) from None
    except Exception as error:  # of whichever HTTP library the client has; none says more than that it did not answer
        reason = without_secrets(" ".join(str(error).split()) or type(error).__name__)
        raise MistakeError(
            f"publish.repo is {publish.repo!r}: {hub} cannot be asked: {reason}: try again, {NOT_NOW}"
        ) from None


def _require_writing(account: dict[str, Any], publish: PublishConfig) -> None:
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise MistakeError(f"publish: {TOKEN_VARIABLE} of {account.get('name')} may only read: take one that may write")
    owner, _, name = publish.repo.partition("/")
    organisations = {org.get("name"): org.get("roleInOrg") for org in account.get("orgs") or ()}
    if owner == account.get("name"):
        return
    if owner not in organisations:
        known = ", ".join(sorted([str(account.get("name")), *map(str, organisations)]))
        raise MistakeError(
            f"publish.repo is {publish.repo!r}: {TOKEN_VARIABLE} may write under {known}, not under {owner}: take "
            f"publish.repo={account.get('name')}/{name}, or a token of {owner}"
        )
    if organisations[owner] not in (None, *MAY_WRITE):
        raise MistakeError(
            f"publish.repo is {publish.repo!r}: {account.get('name')} is {organisations[owner]} in {owner} and may not "
            "write there"
        )
