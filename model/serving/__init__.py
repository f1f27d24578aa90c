"""Everything that travels inside an artifact: from sequences to answers. Imports nothing else of `model`."""
