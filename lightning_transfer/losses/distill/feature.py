"""What losses below the scores share: which features they look at, and in which precision."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from lightning_transfer.contracts import DistillLoss, Features, Prediction


class FeatureLoss(DistillLoss):
    """Compares features of student and teacher, whatever classes they know: embeddings or last maps, or layers by their names.

    Args:
        student_layers: module paths in the student, `backbone.model.layer2` for its output, `backbone.model.layer2:input` for its
            input; what the loss looks at by itself if not given.
        teacher_layers: as many in the teacher, pair by pair.

    Raises:
        ValueError: if their numbers differ.
    """

    view: ClassVar[Literal["embedding", "map"]] = "embedding"

    def __init__(
        self, student_layers: Sequence[str] | None = None, teacher_layers: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.student_layers, self.teacher_layers = list(student_layers or ()), list(teacher_layers or ())
        if len(self.student_layers) != len(self.teacher_layers):
            raise ValueError(
                f"student_layers={self.student_layers} and teacher_layers={self.teacher_layers} are compared pair by pair; "
                "give as many of one as of the other"
            )

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        self.pairs(student, teacher)  # says what is not there

    def pairs(self, student: Prediction, teacher: Prediction) -> list[tuple[Tensor, Tensor]]:
        """Features of student and teacher side by side, in float32, the teacher's without gradient."""
        learner = self._features(student.features, self.student_layers, "student")
        taught = self._features(teacher.features, self.teacher_layers, "teacher")
        # float32: squares and sums over maps overflow in half precision
        return [(s.float(), t.detach().float()) for s, t in zip(learner, taught, strict=True)]

    def _features(self, features: Features, layers: Sequence[str], whose: str) -> list[Tensor]:
        if layers:
            return [features.layers[layer] for layer in layers]
        found = features.embedding if self.view == "embedding" else features.maps[-1] if features.maps else None
        if found is None or not found.shape[1]:
            raise ValueError(
                f"{type(self).__name__} compares {self.view}s, and the {whose} shows none; name layers: student_layers, teacher_layers"
            )
        return [found]


def pooled(feature: Tensor) -> Tensor:
    """Average over places or tokens: (B, D), (B, N, D) or (B, D, H, W) to (B, D)."""
    if feature.ndim == 4:
        return feature.mean(dim=(2, 3))
    return feature.mean(dim=1) if feature.ndim == 3 else feature
