"""The search: Optuna decides what to try, plugins train it, and what happened is written down.

Runs in job workers; nothing here is imported by the API process.
"""
