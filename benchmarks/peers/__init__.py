"""Peers of seedbed, each a script that runs in an environment of its own.

A script is called with one argument, JSON: `train` and `test` (CSV files, folders of classes, or
folders of `images` and `masks`), `target`, `metric`, `seconds` and `seed`, `tables` (side tables by
role) and `known` (what a person who looks at the data knows, such as whether pictures may be
mirrored). Its last line of output is JSON: `score` on the test data, `seconds` from after the
imports until the model was final, and `version`. Scoring the test data is not in the seconds.
"""
