"""What is far from all that taught, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from server.model.familiar import LIMIT_SHARE, PROTOTYPES, Familiar

DIM = 160


def pictures(rng: np.random.Generator, middle: float, count: int) -> NDArray[np.float32]:
    return (middle + rng.normal(size=(count, DIM))).astype(np.float32)


def distances(familiar: Familiar, summaries: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = familiar(torch.from_numpy(summaries)[:, None]).numpy()
    return found


def test_two_kinds_of_pictures_are_familiar_and_a_third_is_not() -> None:
    rng, familiar = np.random.default_rng(1), Familiar(DIM)
    both = np.concatenate([pictures(rng, -6.0, 600), pictures(rng, 6.0, 600)])
    familiar.fit(both, np.concatenate([pictures(rng, -6.0, 300), pictures(rng, 6.0, 300)]))
    near = np.concatenate([pictures(rng, -6.0, 300), pictures(rng, 6.0, 300)])
    assert (distances(familiar, near) >= 1).mean() <= 3 * (1 - LIMIT_SHARE)
    other = np.where(np.arange(DIM) % 2, 6.0, -6.0).astype(np.float32)
    assert (distances(familiar, pictures(rng, 0.0, 300) + other) >= 1).all()


def test_tokens_count_by_their_mean() -> None:
    rng, familiar = np.random.default_rng(2), Familiar(DIM)
    familiar.fit(pictures(rng, 0.0, 400), pictures(rng, 0.0, 100))
    tokens = torch.from_numpy(rng.normal(size=(3, 9, DIM)).astype(np.float32))
    assert torch.allclose(familiar(tokens), familiar(tokens.mean(1, keepdim=True)), atol=1e-5)


def test_before_it_was_fitted_nothing_is_far() -> None:
    assert (Familiar(DIM)(torch.randn(4, 9, DIM)) < 1).all()


def test_too_few_pictures_are_refused_and_nothing_changes() -> None:
    rng, familiar = np.random.default_rng(3), Familiar(DIM)
    with pytest.raises(ValueError, match="too few"):
        familiar.fit(pictures(rng, 0.0, PROTOTYPES - 1), pictures(rng, 0.0, 5))
    assert (familiar(torch.randn(4, 9, DIM)) < 1).all()
