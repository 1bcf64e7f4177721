"""Peers of seedbed, each a script that runs in an environment of its own.

A script is called with one argument, JSON: `train` and `test` (CSV files, or folders of pictures in
folders of classes), `target`, `metric` (`accuracy`, `r2` or `rmse`), `seconds` and `seed`. Its last
line of output is JSON: `score` on the test data, `seconds` that it took, and `version`.
"""
