"""Commands beside Lightning's four: functions named like their file, whose arguments are the command line's, with one line each."""

COMMANDS: dict[str, str] = {
    "merge": "fold a LoRA into the weights: writes an ordinary checkpoint",
}
