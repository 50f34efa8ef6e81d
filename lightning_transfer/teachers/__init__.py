"""Teachers: images (B, C, H, W) in [0, 1] to `Prediction`; frozen, in evaluation mode, and in no checkpoint.

A teacher is no `nn.Module`, so that nothing that looks for modules (optimiser, state dict, moving average, the broadcast of several
processes) finds it. It is loaded when a training begins, and not before: whoever tests a student needs no teacher.
"""

from lightning_transfer.teachers.base import Teacher
from lightning_transfer.teachers.checkpoint import CheckpointTeacher
from lightning_transfer.teachers.ensemble import Ensemble
from lightning_transfer.teachers.module import ModuleTeacher, as_teacher
from lightning_transfer.teachers.timm import TimmTeacher

__all__ = ["CheckpointTeacher", "Ensemble", "ModuleTeacher", "Teacher", "TimmTeacher", "as_teacher"]
