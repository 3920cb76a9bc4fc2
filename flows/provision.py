"""What deployments stand on, on a Prefect server: work pool, queues, the limit on devices, blocks with credentials.

What is there is kept, since a team sets pools and limits in the interface; each function says what it did.
"""

import os
from collections.abc import Iterator, Mapping

from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from flows.work_pools import (
    CREDENTIALS,
    DEVICES_LIMIT,
    QUEUES,
    PoolKind,
    Template,
    add_environment,
    block_name,
    set_default,
)


def store_credentials() -> Iterator[str]:
    """Put the credentials of this process's environment into secret blocks, which the server encrypts."""
    for variable in filter(os.environ.get, CREDENTIALS):
        name = block_name(variable)
        Secret(value=os.environ[variable]).save(name, overwrite=True)
        yield f"block secret/{name}: {variable} of this environment"


def make_pool(
    client: SyncPrefectClient, kind: PoolKind, *, overwrite: bool, defaults: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Make the pool, or with `overwrite` its job template, and its queues; then set the variables of `defaults`.

    Raises:
        MistakeError: a pool of this kind has no such variable; nothing is made.
    """
    template = kind.template()
    for variable, value in (defaults or {}).items():
        set_default(template, variable, value)
    try:
        pool = client.read_work_pool(kind.name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=kind.name, type=kind.type, description=kind.description, base_job_template=template)
        )
        yield f"work pool {kind.name}: made"
    else:
        if overwrite:
            client.update_work_pool(kind.name, WorkPoolUpdate(base_job_template=template))
        else:
            template = pool.base_job_template
        yield f"work pool {kind.name}: {'job template made again' if overwrite else 'there already, kept as it is'}"
    yield from _set_defaults(client, kind, template, defaults or {})
    if kind.reads_blocks:
        yield from _refer_to_blocks(client, kind, template)
    for name, priority in QUEUES.items():
        yield from _make_queue(client, kind.name, name, priority)


def make_limit(client: SyncPrefectClient, machines: int | None) -> Iterator[str]:
    """Make the limit on devices, or change it to `machines`."""
    try:
        present = client.read_global_concurrency_limit_by_name(DEVICES_LIMIT).limit
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=DEVICES_LIMIT, limit=machines or 1))
        yield f"limit {DEVICES_LIMIT}: made, {machines or 1}"
        return
    if machines in (None, present):
        yield f"limit {DEVICES_LIMIT}: there already, {present}"
    else:
        client.upsert_global_concurrency_limit_by_name(DEVICES_LIMIT, machines)
        yield f"limit {DEVICES_LIMIT}: {present} -> {machines}"


def _set_defaults(
    client: SyncPrefectClient, kind: PoolKind, template: Template, defaults: Mapping[str, str]
) -> Iterator[str]:
    """Set variables of the pool, and say so; a pool that was just made has them already."""
    for variable, value in defaults.items():
        set_default(template, variable, value)
        yield f"work pool {kind.name}: {variable} {value}"
    if defaults:
        client.update_work_pool(kind.name, WorkPoolUpdate(base_job_template=template))


def _refer_to_blocks(client: SyncPrefectClient, kind: PoolKind, template: Template) -> Iterator[str]:
    """Have the pool's runs get the credentials for which there are blocks; a reference to none would end them all."""
    references = {
        variable: f"{{{{ prefect.blocks.secret.{block_name(variable)} }}}}"
        for variable in CREDENTIALS
        if _has_block(client, block_name(variable))
    }
    if references:
        add_environment(template, references)
        client.update_work_pool(kind.name, WorkPoolUpdate(base_job_template=template))
        yield f"work pool {kind.name}: takes {', '.join(references)} from blocks"


def _has_block(client: SyncPrefectClient, name: str) -> bool:
    try:
        client.read_block_document_by_name(name, "secret", include_secrets=False)
    except ObjectNotFound:
        return False
    return True


def _make_queue(client: SyncPrefectClient, pool: str, name: str, priority: int) -> Iterator[str]:
    try:
        client.read_work_queue_by_name(name, work_pool_name=pool)
    except ObjectNotFound:
        client.create_work_queue(name, work_pool_name=pool, priority=priority)
        yield f"queue {name} of {pool}: made, priority {priority}"
    else:
        yield f"queue {name} of {pool}: there already"
