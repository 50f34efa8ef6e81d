import pytest
import torch

from lightning_transfer.compression import timing
from lightning_transfer.compression.size import stored_bytes
from lightning_transfer.compression.timing import time_beside


def test_ratios_are_those_of_the_same_round(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def take(name, seconds):
        order.append(name)
        now[0] += seconds * len(order)  # the machine is slower and slower

    found = time_beside({"slow": lambda: take("slow", 0.02), "fast": lambda: take("fast", 0.01)}, rounds=3)
    assert order == ["slow", "fast", "slow", "fast", "fast", "slow", "slow", "fast"]
    assert found["slow"].ratio == pytest.approx((1, 1, 1))
    assert found["fast"].ratio == pytest.approx((2 * 7 / 8, 2 * 3 / 4, 2 * 6 / 5))
    assert found["slow"].times_as_fast(found["fast"]) == pytest.approx((4 / 7, 5 / 12, 2 / 3))
    assert found["fast"].milliseconds == pytest.approx(50)
    with pytest.raises(ValueError, match="rounds=0"):
        time_beside({}, 0)


def test_zeros_pack_and_take_as_much_room():
    dense = torch.randn(1000)
    sparse = dense * (torch.rand(1000) < 0.1)
    assert stored_bytes({"a": dense})["bytes"] == stored_bytes({"a": sparse})["bytes"] == 4000
    assert stored_bytes({"a": sparse})["packed_bytes"] < 0.3 * stored_bytes({"a": dense})["packed_bytes"]
