"""What the service tells those who run it: metrics for Prometheus, and traces by OpenTelemetry.

The other rooms call what is here; nothing here knows a servicer or a search.
"""
