"""Studies: tuning, ablations, reproductions. They ask the runner for runs and read the records."""
