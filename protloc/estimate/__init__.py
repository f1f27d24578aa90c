"""Estimates the time and the cost of a FASTA file on a deployed stack, by a model of the system."""
