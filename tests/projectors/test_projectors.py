import pytest
import torch
from torch import nn

from lightning_transfer.projectors import MLPProjector, PrototypeProjector


def test_layers_are_those_of_the_papers():
    simclr = MLPProjector(6, hidden=8, out_features=4)
    assert [type(layer) for layer in simclr] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    moco = MLPProjector(6, hidden=8, out_features=4, norm=False)
    assert [type(layer) for layer in moco] == [nn.Linear, nn.ReLU, nn.Linear]
    third = MLPProjector(6, hidden=8, out_features=4, layers=3, last_norm=True)
    assert not list(third[-1].parameters())
    assert [layer.bias is None for layer in third if isinstance(layer, nn.Linear)] == [True, True, True]
    for projector in (simclr, moco, third):
        assert projector(torch.rand(5, 6)).shape == (5, projector.out_features)


def test_prototypes_are_compared_by_direction_alone():
    projector = PrototypeProjector(6, hidden=8, bottleneck=3, out_features=10)
    image = torch.rand(5, 6)
    before = projector(image)
    assert before.shape == (5, 10)
    assert before.abs().max() <= 1
    with torch.no_grad():
        projector.prototypes *= 7
    torch.testing.assert_close(projector(image), before)


@pytest.mark.parametrize("make", [lambda: MLPProjector(4, layers=0), lambda: PrototypeProjector(4, out_features=0)])
def test_refuses_none(make):
    with pytest.raises(ValueError, match="must be at least 1"):
        make()
