import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.fewshot import LogisticRule, PrototypeRule, SimpleShot


@pytest.mark.parametrize("transform", ["UN", "L2N", "CL2N"])
def test_is_the_nearest_mean_of_transformed_embeddings(task, transform):
    of, base = task(), torch.randn(50, 16) + 2
    rule = SimpleShot(transform, scale=1.0)
    rule.prepare(base, ["a"])

    def seen(x):
        x = x - base.mean(dim=0) if transform == "CL2N" else x
        return x if transform == "UN" else normalize(x, dim=-1)

    expected = PrototypeRule()(seen(of.support), of.target, seen(of.query))
    torch.testing.assert_close(rule(*of.parts()), expected)


def test_centring_undoes_what_all_embeddings_share(task):
    of, base = task(), torch.randn(50, 16)
    plain, moved = SimpleShot(), SimpleShot()
    plain.prepare(base, [])
    moved.prepare(base + 5, [])
    torch.testing.assert_close(moved(of.support + 5, of.target, of.query + 5), plain(*of.parts()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", [SimpleShot(), LogisticRule(transform="CL2N")])
def test_refuses_to_centre_by_what_it_was_not_given(task, rule):
    with pytest.raises(ValueError, match=r"transform='CL2N' of \w+ centres by the mean .* call prepare, or take L2N"):
        rule(*task().parts())
    with pytest.raises(ValueError, match=r"base \(0, 16\) must be embeddings"):
        rule.prepare(torch.zeros(0, 16), [])


def test_refuses_another_backbone_than_it_was_prepared_for(task):
    rule = SimpleShot()
    rule.prepare(torch.randn(9, 8), [])
    with pytest.raises(ValueError, match="prepared with embeddings of 8 entries, and these have 16"):
        rule(*task().parts())


def test_what_was_prepared_is_no_part_of_a_checkpoint_and_follows_the_module():
    rule = SimpleShot()
    rule.prepare(torch.randn(9, 8).half(), [])
    assert rule.state_dict() == {}
    assert rule.base_mean.dtype is torch.float32
    assert rule.double().base_mean.dtype is torch.float64
