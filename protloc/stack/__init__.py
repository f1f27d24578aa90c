"""A stack seen from outside, on AWS or in the embedded cloud: its API, its models, and its account."""
