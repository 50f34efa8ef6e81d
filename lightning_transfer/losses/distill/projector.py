"""The way from a student's feature to the shape of the teacher's."""

from torch import Tensor, nn


def make_projector(student: Tensor, teacher: Tensor, relu: bool = False) -> nn.Module:
    """Make the regressor that two features of an example need.

    Maps get a convolution whose kernel and stride bring the sides together, then batch norm; vectors and tokens a linear layer.

    Args:
        student: (B, C, H, W), (B, N, D) or (B, D).
        teacher: as many dimensions.
        relu: whether maps end in a ReLU, for teachers whose map does.

    Raises:
        ValueError: for shapes that cannot be joined, with both.

    Reference:
        Tian, Krishnan, Isola, "Contrastive Representation Distillation", ICLR 2020, their code's `ConvReg`.
    """
    if student.ndim == teacher.ndim == 4:
        layers = [_convolution(student, teacher), nn.BatchNorm2d(teacher.shape[1])]
        return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)
    if student.ndim == teacher.ndim == 2 or (
        student.ndim == teacher.ndim == 3 and student.shape[1] == teacher.shape[1]
    ):
        return nn.Linear(student.shape[-1], teacher.shape[-1])
    raise _unjoinable(student, teacher)


def _convolution(student: Tensor, teacher: Tensor) -> nn.Module:
    (c_in, *own), (c_out, *wanted) = student.shape[1:], teacher.shape[1:]
    if own == [2 * side for side in wanted]:
        return nn.Conv2d(c_in, c_out, kernel_size=3, stride=2, padding=1)
    if [2 * side for side in own] == wanted:
        return nn.ConvTranspose2d(c_in, c_out, kernel_size=4, stride=2, padding=1)
    kernel = 1 + own[0] - wanted[0], 1 + own[1] - wanted[1]
    if min(kernel) < 1:
        raise _unjoinable(student, teacher)
    return nn.Conv2d(c_in, c_out, kernel_size=kernel)


def _unjoinable(student: Tensor, teacher: Tensor) -> ValueError:
    return ValueError(
        f"no projector joins the student's {tuple(student.shape[1:])} with the teacher's {tuple(teacher.shape[1:])}; choose layers "
        "of one kind: maps of which the student's has half the side or at least the whole, as many tokens, or vectors"
    )
