"""``python -m hub.cli``: the command line without its script, as `up` starts its own processes."""

from hub.cli import main

main()
