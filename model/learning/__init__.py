"""Learning: options, processes, adapters, loss, checkpoints, and the artifact that a run leaves."""
