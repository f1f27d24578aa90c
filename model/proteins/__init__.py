"""Labelled proteins: reading them, finding relatives, dividing them, and which a model has seen."""
