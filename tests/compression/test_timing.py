import time

import pytest
import torch

from lightning_transfer.compression.size import stored_bytes
from lightning_transfer.compression.timing import time_beside


def test_ratios_are_those_of_the_same_round(monkeypatch):
    order, clock = [], [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])  # a busy machine's own runs unevenly

    def wait(name, seconds):
        order.append(name)
        clock[0] += seconds

    found = time_beside({"slow": lambda: wait("slow", 0.02), "fast": lambda: wait("fast", 0.01)}, rounds=3)
    assert order == ["slow", "fast", "slow", "fast", "fast", "slow", "slow", "fast"]
    assert found["slow"].ratio == (1, 1, 1)
    assert found["fast"].ratio[0] == pytest.approx(2)
    assert found["fast"].milliseconds == pytest.approx(10)
    with pytest.raises(ValueError, match="rounds=0"):
        time_beside({}, 0)


def test_zeros_pack_and_take_as_much_room():
    dense = torch.randn(1000)
    sparse = dense * (torch.rand(1000) < 0.1)
    assert stored_bytes({"a": dense})["bytes"] == stored_bytes({"a": sparse})["bytes"] == 4000
    assert stored_bytes({"a": sparse})["packed_bytes"] < 0.3 * stored_bytes({"a": dense})["packed_bytes"]
