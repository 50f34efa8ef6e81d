"""Commands beside Lightning's four: functions named like their file, whose arguments are the command line's, with one line each."""

COMMANDS: dict[str, str] = {
    "probe": "fit linear and nearest-neighbour probes on the features of a frozen backbone",
}
