"""The loss of a reward model on pairs. Pure functions of tensors.

Shapes: P pairs.
"""

import torch
from torch.nn import functional


def pairwise_loss(chosen_scores: torch.Tensor, rejected_scores: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood that each chosen response wins: -log sigmoid(r_chosen - r_rejected).

    Under Bradley and Terry's model of comparisons a response of score r wins over one of score s with probability
    e^r / (e^r + e^s). Only differences count: scores may be shifted together. Equal scores cost log 2.

    Source: Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs"; as the loss of a reward model Ouyang
    et al. 2022, arXiv:2203.02155, equation 1, for one pair.

    Args:
        chosen_scores, rejected_scores: [P], any real number.

    Returns:
        [P], at least 0.
    """
    return -functional.logsigmoid(chosen_scores - rejected_scores)


def centering_loss(chosen_scores: torch.Tensor, rejected_scores: torch.Tensor) -> torch.Tensor:
    """(r_chosen + r_rejected)^2, which keeps scores around zero where the loss above leaves their level free.

    Source: Eisenstein et al. 2023, arXiv:2312.09244, section 2.1.

    Args:
        chosen_scores, rejected_scores: [P].

    Returns:
        [P], at least 0.
    """
    return (chosen_scores + rejected_scores) ** 2
