import os

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "protloc")  # read when a handler is imported
