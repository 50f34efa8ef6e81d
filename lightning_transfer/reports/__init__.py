"""Reports: from the logits of a checkpoint's splits (`Scored`) to rows of tables, and from these to pictures."""

from lightning_transfer.reports.classes import ClassReport
from lightning_transfer.reports.numbers import NumberReport
from lightning_transfer.reports.report import Report

__all__ = ["ClassReport", "NumberReport", "Report"]
