"""The Lambda functions: one handler a file, named by what it does.

The flow is receive → split → predict → complete; query answers questions about it, sweep puts right what
went wrong on the way, and smoke tries a new model version before it is put into service.
"""
