"""Parts that lie in each other are told apart, and add up."""

import time

import torch

from benchmarks.watch import Watch

CPU = torch.device("cpu")


class Update:
    def forward(self) -> str:
        time.sleep(0.01)
        return "loss"


def test_a_method_is_a_part_only_inside_the_part_that_is_looked_into() -> None:
    watch, update = Watch(CPU), Update()
    watch.calls(update, "forward", "train: forward", within="train")
    assert update.forward() == "loss"
    assert watch.parts == {}
    with watch("train"):
        update.forward()
        update.forward()
    assert list(watch.parts) == ["train", "train: forward"]
    assert 0.02 <= watch.parts["train: forward"].seconds <= watch.parts["train"].seconds


def test_a_part_that_happens_again_is_added_to() -> None:
    watch = Watch(CPU)
    for _ in range(3):
        with watch("wait"):
            time.sleep(0.01)
    assert watch.parts["wait"].seconds >= 0.03


def test_the_peak_of_a_part_is_at_least_that_of_what_lies_in_it() -> None:
    watch = Watch(CPU)
    with watch("outer"), watch("inner"):
        torch.ones(1000)
    assert watch.parts["outer"].peak_bytes >= watch.parts["inner"].peak_bytes > 0
