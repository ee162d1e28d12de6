"""The fault matrix: `python -m tests.faults --list` names the cases, `make faults` runs them all."""
