"""The rules of the pipeline without any service: FASTA, proteins, packing, uploads, predictions and rows."""
