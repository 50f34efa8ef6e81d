"""Commands beside Lightning's four: functions named like their file, whose arguments are the command line's, with one line each."""

COMMANDS: dict[str, str] = {
    "wise_ft": "measure the models between a source and a fine-tuned one, and keep the best (WiSE-FT)",
    "soup": "average checkpoints of one architecture, all of them or those that help (model soup)",
}
