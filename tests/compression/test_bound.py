import pytest

from lightning_transfer.compression import GPTQ, NM, Bound, ExactOBS, Magnitude, Unstructured
from lightning_transfer.compression.bound import last_that_holds
from lightning_transfer.metrics.bootstrap import Interval


@pytest.mark.parametrize("count", range(1, 10))
def test_bisection_finds_the_last_that_holds_and_looks_at_few(count):
    for last in (None, *range(count)):
        tried = []

        def holds(number, tried=tried, last=last):
            tried.append(number)
            return last is not None and number <= last

        assert last_that_holds(count, holds) == last
        assert len(tried) == len({*tried}) <= count.bit_length()


def test_strengths_go_to_those_whom_they_concern():
    both = [Magnitude(Unstructured(0.1)), GPTQ(8)]
    shares, bits = Bound(0.1, [0.9, 0.5, 0.5]), Bound(0.1, [2, 8, 4])
    assert shares.ordered() == [0.5, 0.9]
    assert bits.ordered() == [8, 4, 2]
    pruned, rounded = shares.at(both, 0.9)
    assert (pruned.pattern.sparsity, rounded.bits) == (0.9, 8)
    pruned, rounded = bits.at(both, 2)
    assert (pruned.pattern.sparsity, rounded.bits) == (0.1, 2)


def test_the_worst_end_of_the_interval_counts_unless_the_drop_itself_does():
    change = Interval(-0.02, -0.05, 0.01)
    drop = Bound(0.03, [0.5]).drop(change)
    assert drop == Interval(0.02, -0.01, 0.05)
    assert not Bound(0.03, [0.5]).allows(drop)
    assert Bound(0.03, [0.5], confident=False).allows(drop)
    assert Bound(0.05, [0.5]).allows(drop)
    assert Bound(0.05, [0.5], metric="nll").drop(change) == change
    assert Bound(0.05, [0.5], metric="angle/mae").drop(change) == change


def test_complaints():
    for make, said in {
        lambda: Bound(-0.1, [0.5]): r"max_drop=-0.1 must not be negative",
        lambda: Bound(0.1, []): r"strengths=\[\] must be shares of zeros",
        lambda: Bound(0.1, [0.5, 4]): r"strengths=\[0.5, 4\] must be shares of zeros",
        lambda: Bound(0.1, [0.5]).at([GPTQ(4)], 0.5): "shares of zeros, but nothing that is given prunes",
        lambda: Bound(0.1, [4]).at([Magnitude(Unstructured(0.5))], 4): "are bits, but nothing rounds",
        lambda: Bound(0.1, [0.5]).at([ExactOBS(NM())], 0.5): "NM has one share of zeros",
    }.items():
        with pytest.raises(ValueError, match=said):
            make()
