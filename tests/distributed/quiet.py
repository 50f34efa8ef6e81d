"""The trainer of all trainings here; imported by files that run by themselves, beside which it lies."""

from lightning.pytorch import Trainer


def quiet_trainer(devices, max_epochs, **options):
    return Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=max_epochs, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
