"""The first K classes of the source."""

from torch import Tensor

from lightning_transfer.mappings.injective import InjectiveMapping


class FirstMapping(InjectiveMapping):
    """Class k is source k: no meaning, all of the work is the prompt's.

    Reference:
        Bahng, Jahanian, Sankaranarayanan, Isola, "Exploring Visual Prompts for Adapting Large-Scale Models", 2022, section 3.3 (vision models).
    """

    def choose(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> Tensor:
        return self.first(num_classes)
