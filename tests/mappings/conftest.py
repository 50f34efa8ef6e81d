import pytest


@pytest.fixture
def built():
    """Builds a mapping of S sources to K classes."""

    def build(mapping, num_source=6, num_classes=3, source_names=None, class_names=None):
        mapping.build(num_source, num_classes, source_names, class_names)
        return mapping

    return build
