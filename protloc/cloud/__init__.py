"""The embedded cloud: the stack of `template.yaml` on one machine, without Docker and without an account.

The engine (MiniStack) serves the AWS APIs. What it lacks is added here, a room each: function processes
(`lambdas`), SageMaker (`sagemaker`), what AWS would refuse (`contracts`), who may ask (`gate`), files that
are on disk whole (`disk`), and state, rows and deliveries that survive a kill (`engine`, the only room that
knows the engine's private names). A person starts and stops it by `lifecycle`, and fills it by `deploy`.
"""
