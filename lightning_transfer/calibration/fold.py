"""A temperature in the weights, so that whatever uses a model has its probabilities."""

import torch
from torch import nn

from lightning_transfer.heads import CosineHead


@torch.no_grad()
def divide_logits(head: nn.Module, in_features: int, temperature: float) -> None:
    """Change a head in place such that its logits are those that it had, divided by a temperature.

    The last linear layer is divided, or the scale of a cosine head.

    Args:
        head: (B, D) to (B, K).
        in_features: D.
        temperature: above 0.

    Raises:
        ValueError: if the logits of the head are not in proportion to its last layer.
    """
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    divided = [head.scale] if isinstance(head, CosineHead) else [*linear[-1].parameters()] if linear else []
    embedding = torch.randn(16, in_features, generator=torch.Generator().manual_seed(0))
    head.eval()
    expected = head(embedding) / temperature
    for parameter in divided:
        parameter.div_(temperature)
    if (head(embedding) - expected).abs().max() > 1e-4 * expected.abs().max():
        raise ValueError(
            f"head={type(head).__name__} cannot take a temperature into its weights, since its logits are not in proportion to "
            "its last layer; heads that end in a linear layer can"
        )
