"""The model room: from labelled proteins to an artifact, and from an artifact to answers.

A SageMaker training container runs `train.py`, a serving container imports `inference.py`; the artifact
(`artifact.py`) is all that passes from one to the other. Importing this package imports neither torch nor
transformers.
"""
