"""Features of a frozen backbone, computed once and kept on disk under a key of weights, transform and images."""

from lightning_transfer.features.cache import cached_features, read_features
from lightning_transfer.features.key import FeatureKey, feature_key

__all__ = ["FeatureKey", "cached_features", "feature_key", "read_features"]
