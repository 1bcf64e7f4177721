"""Whether the server and its machine are well: what `seedbed doctor` asks.

Not to be mixed up with `data.doctor`, which looks at data sets.
"""
