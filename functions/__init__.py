"""The Lambda functions: one handler a file, named by its task.

The flow is receive → split → predict → complete; query answers questions about it, retry begins a finished
upload once more, and sweep repairs whatever went wrong on the way. Of retraining are plan, judge and smoke,
which the state machine asks; activate, which makes another version the active one; and retire, which takes
down versions that are not asked any more.
"""
