"""What data a job is given: references to it, what may be read, and what it is understood to be.

`references` is free of pandas, so that the API process can use it; the rest runs in workers.
"""
