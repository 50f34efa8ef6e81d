"""The classes that the source sees in images of the targets', as the prompt changes them."""

from lightning_transfer.mappings.frequency import FrequencyMapping


class IterativeMapping(FrequencyMapping):
    """`FrequencyMapping` counted anew in each epoch, by the answers that training gets anyway.

    Args:
        sources_per_class: m ≥ 1 sources a class, whose scores are averaged.

    Raises:
        ValueError: for values out of range; at `observe` for targets that are not one class an image.

    Reference:
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting: A Label-Mapping Perspective", CVPR 2023, section 4
        (ILM).

    Deviation:
        The authors ask the network once more for all training images before each epoch; here the answers of the epoch's own steps
        count, during which the prompt moved, and at the cost of nothing.
    """

    def is_counting(self) -> bool:
        return True
