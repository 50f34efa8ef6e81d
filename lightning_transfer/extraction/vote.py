"""Which of several answers to one question counts."""

from collections import Counter
from collections.abc import Sequence


def majority(answers: Sequence[str | None]) -> str | None:
    """The most frequent answer, of equally frequent ones that which was said first; texts without an answer have no vote.

    Reference:
        Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models", ICLR 2023.

    Example:
        >>> majority(["3", None, "5", "5", None, None])
        '5'
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0] if votes else None
