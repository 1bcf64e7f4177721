"""The data doctor: what a careful person would say about a dataset, with the evidence."""

from seedbed_server.data.doctor.examination import examine, examine_shape

__all__ = ["examine", "examine_shape"]
