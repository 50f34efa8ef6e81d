"""Views: images (B, C, H, W) in [0, 1] to several batches of that shape, each image seen otherwise; predictions are averaged over them."""

from lightning_transfer.views.base import Views, all_views
from lightning_transfer.views.flip import Flip
from lightning_transfer.views.mean import mean_logits
from lightning_transfer.views.scales import Scales
from lightning_transfer.views.shifts import Shifts

__all__ = ["Flip", "Scales", "Shifts", "Views", "all_views", "mean_logits"]
