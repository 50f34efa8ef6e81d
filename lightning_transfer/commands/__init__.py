"""Commands beside Lightning's four: functions named like their file, whose arguments are the command line's, with one line each."""

COMMANDS: dict[str, str] = {
    "export": "write a checkpoint as ONNX, torch.export or timm folder, checked against it on images",
    "push": "put a checkpoint on the Hugging Face hub, in timm's layout",
}
