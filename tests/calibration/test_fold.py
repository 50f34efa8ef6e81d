import pytest
import torch
from torch import nn

from lightning_transfer.calibration import divide_logits
from lightning_transfer.heads import CosineHead, LinearHead, MLPHead


@pytest.mark.parametrize("make", [CosineHead, MLPHead, LinearHead, lambda d, k: LinearHead(d, k, bias=False)])
def test_logits_are_divided(make):
    head = make(6, 4)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    embedding = torch.randn(5, 6)
    before = head.eval()(embedding)
    divide_logits(head, 6, 2.5)
    torch.testing.assert_close(head(embedding), before / 2.5)


def test_refuses_logits_that_are_not_in_proportion_to_the_last_layer():
    for head in (nn.Sequential(nn.Linear(6, 4), nn.Tanh()), nn.BatchNorm1d(6)):
        with pytest.raises(ValueError, match="cannot take a temperature into its weights"):
            divide_logits(head, 6, 2.5)
