"""Every response that a protocol asks for, sampled by all ranks together, each once: also over several attempts."""

from collections.abc import Mapping, Sequence

from rl_core.config.evaluation import ProtocolConfig
from rl_core.evaluation.samples import Place, SampleStore, StoredSample
from rl_core.progress import Progress
from rl_core.rollout.collect import Limits
from rl_core.rollout.engine import RolloutEngine, Sampling
from rl_core.types import Completion, Problem, Request
from rl_core.world import World, derive_seed

PURPOSE = "evaluation"


def sample_missing(
    problems: Sequence[Problem],
    protocol: ProtocolConfig,
    limits: Limits,
    engine: RolloutEngine,
    store: SampleStore,
    known: Mapping[Place, StoredSample],
    world: World,
    work: str,
) -> dict[Place, StoredSample]:
    """All samples, by problem and number. A collective call; they are read from the disk that the ranks share.

    Args:
        known: samples that need not be drawn again, beside those that the store holds.
        work: what progress calls it.
    """
    world.barrier()  # no rank writes before every one has looked at what is there
    have = {**known, **store.read()}
    wanted = [(problem, sample) for problem in problems for sample in range(protocol.num_samples)]
    missing = [(problem, sample) for problem, sample in wanted if (problem.index, sample) not in have]
    world.barrier()
    group_size = engine.ranks_per_engine
    # Dealt one by one: samples of one problem are of like length, and no rank should have all the long ones.
    own = missing[world.rank // group_size :: world.size // group_size]
    requests = [
        Request(
            problem.prompt_ids,
            limits.response_tokens(problem),
            derive_seed(protocol.seed, PURPOSE, problem.index, sample),
        )
        for problem, sample in own
    ]
    done = len(wanted) - len(missing)
    if done and world.is_first:
        print(f"{work}: goes on; {done} of {len(wanted)} responses are there")
    with Progress(work, len(wanted), "response", enabled=world.is_first) as progress:
        ended = 0

        def finished(index: int, completion: Completion) -> None:
            nonlocal ended
            problem, sample = own[index]
            if world.rank % group_size == 0:  # the first of the group speaks for it
                store.add((problem.index, sample), completion)
            ended += 1
            progress.update(min(len(wanted) - 1, done + ended * (world.size // group_size)))  # others may be behind

        engine.generate(requests, Sampling(protocol.temperature, protocol.top_p, logprobs=False), finished=finished)
        store.flush()
        world.barrier()
        progress.update(len(wanted))
    samples = {**known, **store.read()}
    world.barrier()  # the first rank removes the store when it has written the results; all have read it then
    return samples
