from __future__ import annotations

import pytest

from shared.training_time import estimated_time, flops_per_token
from tests.shared.llama_70b import LLAMA_70B


def test_a_token_of_70b_takes_417_gflop() -> None:
    assert flops_per_token(LLAMA_70B) / 1e9 == pytest.approx(417, abs=1)


def test_three_epochs_of_a_real_file_take_about_half_an_hour_on_an_h100() -> None:
    # 242 conversations of 1,834 tokens each: the mean of a file of 72 that was counted exactly.
    tokens = 3 * 242 * 132_056 // 72
    span = estimated_time(tokens * flops_per_token(LLAMA_70B), dense_tflops=756)
    assert (span.best / 3600, span.worst / 3600) == pytest.approx((0.47, 0.60), rel=0.05)
    assert span.best < span.expected < span.worst


def test_replicas_share_the_work() -> None:
    alone = estimated_time(1e18, 756.0)
    shared = estimated_time(1e18, 756.0, num_gpus=4)
    assert shared.best == pytest.approx(alone.best / 4)
