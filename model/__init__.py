"""The model room: from labelled proteins to an artifact, and from an artifact to answers.

`train.py` is what a SageMaker training container runs, `inference.py` what a serving container imports;
the artifact (`artifact.py`) is all that passes from one to the other. Importing this package imports
neither torch nor transformers.
"""
