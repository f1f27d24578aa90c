"""Estimates how long a FASTA file takes on a deployed stack and what it costs, by a model of the system."""
