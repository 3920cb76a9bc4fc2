"""Log-probabilities and entropies without all logits, against the plain way: `python -m benchmarks.logprobs`.

Ours is `rl_core.models.output_head`. The plain way makes all logits, takes their log_softmax, and leaves the gradient
to autograd. Training without an entropy bonus needs the gradient of the log-probabilities alone.
Both ways are given the same hidden states, output embedding and chosen tokens. Peaks are above what these
inputs take, and contain the results and, after a backward pass, the gradients.
Shapes: N tokens, H hidden size, V vocabulary.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

from benchmarks.circumstances import circumstances
from benchmarks.outcome import Spread, arguments, interleaved, print_table, write_outcome
from benchmarks.peak import available_bytes, peak_rise
from rl_core.models.output_head import OutputHead

TEMPERATURE = 1.0
# Of [N, V] in float32, that the plain way holds at once during its backward pass; counted in its graph.
PLAIN_COPIES = 5
SAFE_SHARE = 0.8  # of the available memory; what would take more is not tried
CASE_SECONDS = 3.0  # that the repetitions of one pass of one way take
MAX_REPETITIONS = 7
GB = 1e9
FORWARD, BOTH, ENTROPY = "forward", "forward and backward", "forward and backward, entropies in the loss"
COLUMNS = ("plain GB", "plain s", "ours GB", "ours s", "ratio")

Inputs = tuple[torch.Tensor, torch.nn.Linear, torch.Tensor]
Way = Callable[[torch.Tensor, torch.nn.Linear, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Case:
    """Sizes of one comparison."""

    hidden: int
    tokens: int
    vocabulary: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        """From `HxNxV`."""
        try:
            hidden, tokens, vocabulary = (int(size) for size in text.split("x"))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected HxNxV, for example 128x4096x151936") from None
        return cls(hidden, tokens, vocabulary)

    @property
    def logits_bytes(self) -> int:
        """Of one copy of all logits in float32."""
        return 4 * self.tokens * self.vocabulary


CASES = [
    *(Case(128, tokens, 1024) for tokens in (512, 24576)),
    *(Case(128, tokens, 16384) for tokens in (512, 4096)),
    *(Case(128, tokens, 151936) for tokens in (512, 24576)),
    Case(1536, 512, 16384),
    Case(1536, 256, 151936),
]


def plain(
    states: torch.Tensor, embedding: torch.nn.Linear, chosen: torch.Tensor, *, entropy_in_loss: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [N] of the chosen tokens and entropies [N], through all logits [N, V].

    Args:
        entropy_in_loss: whether autograd shall keep what the entropies' gradient needs.
    """
    logprobs = (functional.linear(states, embedding.weight).float() / TEMPERATURE).log_softmax(-1)
    kept = logprobs if entropy_in_loss else logprobs.detach()
    return logprobs.gather(-1, chosen.unsqueeze(-1)).squeeze(-1), -(kept.exp() * kept).sum(-1)


def ours(states: torch.Tensor, embedding: torch.nn.Linear, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, by the project."""
    return OutputHead(embedding).logprobs(states, chosen, TEMPERATURE)


def compare(case: Case, device: torch.device) -> dict[str, object]:
    """One line of each table: peaks and seconds of both ways, or of ours alone where the plain way does not fit."""
    inputs = _inputs(case, device)
    needed = PLAIN_COPIES * case.logits_bytes
    fits = needed < SAFE_SHARE * available_bytes(device)
    if not fits:
        print(f"{case}: the plain way needs about {needed / GB:.0f} GB, more than is available: not run", flush=True)
    row: dict[str, object] = {"H": case.hidden, "N": case.tokens, "V": case.vocabulary}
    for passes, run in {FORWARD: _forward, BOTH: _both, ENTROPY: _both_with_entropy}.items():
        ways: dict[str, Way] = {"ours": ours}
        if fits:
            ways["plain"] = partial(plain, entropy_in_loss=passes == ENTROPY)
        works = {name: partial(run, way, inputs) for name, way in ways.items()}
        first = {name: peak_rise(work, device) for name, work in works.items()}
        seconds = _repeated(works, {name: taken for name, (taken, _) in first.items()})
        for name in ("plain", "ours"):
            row[f"{passes}, {name} GB"] = first[name][1] / GB if name in first else None
            row[f"{passes}, {name} s"] = seconds.get(name)
        row[f"{passes}, ratio"] = seconds["ours"].median / seconds["plain"].median if fits else None
    print(f"{case}: measured", flush=True)
    return row


def _inputs(case: Case, device: torch.device) -> Inputs:
    torch.manual_seed(0)
    embedding = torch.nn.Linear(case.hidden, case.vocabulary, bias=False, device=device)
    states = torch.randn(case.tokens, case.hidden, device=device, requires_grad=True)
    return states, embedding, torch.randint(case.vocabulary, (case.tokens,), device=device)


@torch.no_grad()
def _forward(way: Way, inputs: Inputs) -> float:
    start = time.perf_counter()
    way(*inputs)
    _wait(inputs)
    return time.perf_counter() - start


def _both(way: Way, inputs: Inputs, *, entropy_weight: float = 0.0) -> float:
    states, embedding, _chosen = inputs
    start = time.perf_counter()
    logprobs, entropies = way(*inputs)
    loss = logprobs.sum()
    if entropy_weight:
        loss = loss + entropy_weight * entropies.sum()
    loss.backward()
    _wait(inputs)
    seconds = time.perf_counter() - start
    states.grad = embedding.weight.grad = None
    return seconds


def _both_with_entropy(way: Way, inputs: Inputs) -> float:
    return _both(way, inputs, entropy_weight=0.1)


def _wait(inputs: Inputs) -> None:
    if inputs[0].device.type != "cpu":
        torch.accelerator.synchronize()


def _repeated(works: Mapping[str, Callable[[], float]], first: Mapping[str, float]) -> dict[str, Spread]:
    """Seconds of each work in turns. The first call warmed up; it counts where there is no time for another."""
    repetitions = min(MAX_REPETITIONS, int(CASE_SECONDS / max(first.values())))
    repeated = interleaved(works, repetitions)
    return {name: Spread.of(repeated[name] or [first[name]]) for name in works}


def main() -> None:
    """Compare each case, print and keep the figures."""
    parser = arguments("logprobs", __doc__)
    parser.add_argument(
        "--cases", nargs="+", type=Case.parse, default=CASES, metavar="HxNxV", help="sizes to compare (default: eight)"
    )
    options = parser.parse_args()
    taken_under = circumstances()
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    rows = [compare(case, device) for case in options.cases]
    for passes in (FORWARD, BOTH, ENTROPY):
        columns = {f"{passes}, {column}": column for column in COLUMNS}
        print_table(passes, [{columns.get(n, n): v for n, v in r.items() if n in (*"HNV", *columns)} for r in rows])
    write_outcome(options.json, {"threads": torch.get_num_threads(), "rows": rows}, taken_under)


if __name__ == "__main__":
    main()
