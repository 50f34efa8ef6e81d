"""Commands beside Lightning's four: functions named like their file, whose arguments are the command line's, with one line each."""

COMMANDS: dict[str, str] = {
    "probe": "fit linear and nearest-neighbour probes on the features of a frozen backbone",
    "report": "judge a checkpoint: intervals, classes or targets, worst images, calibration",
    "dax": "show one image of a concept and ask which others are the same: precision and recall on novel classes",
    "calibrate": "fit a temperature on validation: writes a checkpoint whose probabilities hold",
    "agreement": "compare students with their teacher: agreement, divergence, CKA, correlations of classes",
    "template_grid": "compare templates and words for the classes of an image-text model, on validation",
    "prompt_grid": "compare templates and label words for a language model, raw and calibrated",
    "zero_shot_head": "write an image-text model that knows classes by their names as a classifier, to fine-tune from",
    "wise_ft": "measure the models between a source and a fine-tuned one, and keep the best (WiSE-FT)",
    "soup": "average checkpoints of one architecture, all of them or those that help (model soup)",
    "merge": "fold a LoRA into the weights: writes an ordinary checkpoint",
    "compress": "prune or round the weights of a checkpoint, layer by layer: writes a checkpoint, and what it costs and brings",
    "prune_channels": "take whole channels out of a checkpoint: writes a smaller one, and what it costs and brings",
    "apply_prompt": "write images behind a learned prompt as PNG",
    "export": "write a checkpoint as ONNX, torch.export or timm folder, checked against it on images",
    "push": "put a checkpoint on the Hugging Face hub, in timm's layout",
}
