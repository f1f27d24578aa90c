"""The real handlers over a cloud in memory, in schedules drawn from seeds: `make simulate`."""

import os

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "protloc")  # read when a handler is imported
