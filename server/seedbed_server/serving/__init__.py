"""Models that answer: the asynchronous front that the API calls, and the process that holds them.

`front` is light; `predictor`, which loads models, runs in the serving process only.
"""
