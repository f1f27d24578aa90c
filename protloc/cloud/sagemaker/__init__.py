"""SageMaker on this machine: training jobs, hosting, the model registry and scaling."""
