"""The embedded cloud: the stack of `template.yaml` on one machine, without Docker and without an account.

The engine (MiniStack) serves the AWS APIs. Services that it lacks are added here, one subject a file:
function processes (`workers`), SageMaker (`sagemaker`, `training`, `serve`), permissions of the state machine
(`permissions`), consistent state on disk (`snapshot`). Only `engine` and `repairs` know the engine's private
names. A person starts and stops all of it through `lifecycle`, and fills it through `deploy`.
"""
