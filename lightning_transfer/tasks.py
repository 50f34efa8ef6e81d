"""What a model's outputs mean, by the kind of its targets."""

from typing import Literal, get_args

from torch import Tensor

Task = Literal["classification", "multi_label", "regression"]
TextTask = Literal["classification", "generation"]  # one of some classes, or any text


def check_task(task: str) -> None:
    """Refuse what is no task."""
    if task not in get_args(Task):
        raise ValueError(f"task={task!r} must be one of {', '.join(get_args(Task))}")


def answer(logits: Tensor, task: Task) -> Tensor:
    """Turn logits (B, K) into what a user is told: the classes' probabilities, or for regression the numbers that the logits are."""
    if task == "regression":
        return logits
    return logits.sigmoid() if task == "multi_label" else logits.softmax(dim=-1)


def answers(task: Task) -> str:
    """What `answer` gives, in a word."""
    return "values" if task == "regression" else "probabilities"
