"""The gRPC services: each method translates a message, calls a room, and translates back.

Nothing here imports torch or pandas; `convert` and `requests` alone know both messages and values.
"""
