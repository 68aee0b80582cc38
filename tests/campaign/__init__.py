"""The fault campaign: seeded schedules of faults, and the sums of what they did. `python -m tests.campaign --help`."""
