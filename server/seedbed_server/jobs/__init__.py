"""A job's life: the values it is made of, what is allowed in it, and the worker's way to write it.

`values` knows nothing but the SDK; `session` is how a worker records what happened.
"""
