"""Rows and files: the only room that writes SQL or paths of the data directory.

`Store` holds the rows, a noun an attribute; `Files` holds the folders. Both speak frozen values.
"""

from seedbed_server.store.addresses import holds_password, server_url
from seedbed_server.store.files import Files, ModelFolder
from seedbed_server.store.leases import Holder, new_holder
from seedbed_server.store.lock import ServerLock
from seedbed_server.store.outages import TryAgain
from seedbed_server.store.pages import Page, PageRequest
from seedbed_server.store.prepared import PreparedFolders, PreparedStore
from seedbed_server.store.store import WORKER_PATIENCE, Store
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
    "WORKER_PATIENCE",
    "AuditRow",
    "Dataset",
    "Files",
    "Holder",
    "JobFilter",
    "ModelFolder",
    "Page",
    "PageRequest",
    "PreparedFolders",
    "PreparedStore",
    "RequestKey",
    "ServerLock",
    "Store",
    "TryAgain",
    "Upload",
    "holds_password",
    "new_holder",
    "server_url",
]
