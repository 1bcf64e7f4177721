"""Rows and files: the only room that writes SQL or paths of the data directory.

`Store` holds the rows, a noun an attribute; `Files` holds the folders. Both speak frozen values.
"""

from seedbed_server.store.files import Files, ModelFolder
from seedbed_server.store.pages import Page, PageRequest
from seedbed_server.store.prepared import PreparedFolders, PreparedStore
from seedbed_server.store.store import Store
from seedbed_server.store.values import (
    DATASET_SCHEME,
    AuditRow,
    Dataset,
    JobFilter,
    RequestKey,
    Upload,
)

__all__ = [
    "DATASET_SCHEME",
    "AuditRow",
    "Dataset",
    "Files",
    "JobFilter",
    "ModelFolder",
    "Page",
    "PageRequest",
    "PreparedFolders",
    "PreparedStore",
    "RequestKey",
    "Store",
    "Upload",
]
