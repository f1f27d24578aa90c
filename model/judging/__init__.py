"""Judging: how good a model's answers are, with intervals, and the pages and cards that show it."""
