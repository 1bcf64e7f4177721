"""Who may do what: the caller of the call under way, and what each method takes."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.errors import PermissionDenied
from seedbed_server.tokens import Role, Token, is_project

# Of callers without a token, and of tokens for all projects.
DEFAULT_PROJECT = "default"
# Metadata of a call: the project that is meant where the request names none.
PROJECT_KEY = "seedbed-project"


class Access(IntEnum):
    """What a method does. `OPEN` ones take no token."""

    OPEN = 0
    READ = 1
    WRITE = 2
    ADMINISTER = 3


_TASKS = "seedbed.v1.TaskService"
_DATASETS = "seedbed.v1.DatasetService"
_JOBS = "seedbed.v1.JobService"
_MODELS = "seedbed.v1.ModelService"
_PREDICTIONS = "seedbed.v1.PredictionService"
_SERVER = "seedbed.v1.ServerService"
_HEALTH = "grpc.health.v1.Health"
_REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

# What is in no list is refused, so that a new method is not open by having been forgotten here.
_METHODS: Mapping[Access, Mapping[str, tuple[str, ...]]] = {
    # Load balancers and supervisors ask, and learn no more than whether the server is up.
    Access.OPEN: {_HEALTH: ("Check", "List", "Watch")},
    Access.READ: {
        _TASKS: ("ListTasks", "GetTask"),
        _DATASETS: ("GetDataset", "ListDatasets", "InspectDataset"),
        _JOBS: ("GetJob", "ListJobs", "WatchJob", "GetJobInsights", "ListTrials"),
        _MODELS: ("GetModel", "ListModels", "DownloadModel"),
        _PREDICTIONS: ("Predict",),
        _REFLECTION: ("ServerReflectionInfo",),
    },
    Access.WRITE: {
        _DATASETS: ("CreateDataset", "UploadDataset", "DeleteDataset"),
        # PlanJob keeps nothing that can be named, yet it trains.
        _JOBS: (
            *("CreateJob", "StopJob", "CancelJob", "DeleteJob"),
            *("ExtendJob", "ReplayJob", "PlanJob"),
        ),
        _MODELS: ("DeleteModel",),
    },
    # Tells paths, settings and what the machine has.
    Access.ADMINISTER: {_SERVER: ("GetServerStatus",)},
}
ACCESS: Mapping[str, Access] = {
    f"/{service}/{name}": access
    for access, services in _METHODS.items()
    for service, names in services.items()
    for name in names
}
# Data or a model leaves the server with these.
_HANDS_OUT = (f"/{_DATASETS}/InspectDataset", f"/{_MODELS}/DownloadModel")


_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")


def is_audited(method: str, outcome: str) -> bool:
    """Whether a call is written down: what changes something, hands data out, or was refused. The
    many calls that only look would push these out."""
    return ACCESS.get(method) is Access.WRITE or method in _HANDS_OUT or outcome in _REFUSALS


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `token` is the token's id, empty where the server asks for none; no `projects` are
    all of them; `peer` is the address without its port; `project` is the one that the call said it
    is about, empty where it did not."""

    peer: str
    token: str = ""
    role: Role = Role.ADMIN
    projects: tuple[str, ...] = ()
    project: str = ""

    @classmethod
    def of(cls, token: Token, peer: str) -> Caller:
        """The holder of a token."""
        projects = () if token.role is Role.ADMIN else token.projects
        return cls(peer, token.id, token.role, projects)

    @property
    def own_project(self) -> str:
        """The project that is meant where a request names none."""
        if self.project:
            return self.project
        return self.projects[0] if self.projects else DEFAULT_PROJECT

    def within(self, project: str) -> Caller:
        """The same caller in a call about one project. Raises InvalidArgument for what cannot be a
        project's name, PermissionDenied for one that is not the caller's."""
        if not is_project(project):
            raise InvalidArgument(
                PROJECT_KEY,
                f"{project[:80]!r} is no name of a project: 1 to 63 of a-z, 0-9 and '-', starting "
                "with a letter",
            )
        self.require_project(project, PROJECT_KEY)
        return replace(self, project=project)

    def require_method(self, method: str) -> None:
        """Raises PermissionDenied for a method that the role does not allow."""
        access = ACCESS.get(method)
        name = method.rpartition("/")[2]
        if access is None:
            raise PermissionDenied(
                f"{name} is not open to anybody on this server; it belongs to no list of "
                "seedbed_server.api.access",
                reason="METHOD_NOT_OPEN",
            )
        wanted = {
            Access.WRITE: (Role.USER, Role.ADMIN),
            Access.ADMINISTER: (Role.ADMIN,),
        }.get(access, tuple(Role))
        if self.role not in wanted:
            raise PermissionDenied(
                f"{name} is not for a {self.role}, which token {self.token!r} makes its holder; "
                f"it takes a token with the role {' or '.join(wanted)}",
                reason="ROLE_TOO_LOW",
                metadata={"token": self.token, "role": str(self.role)},
            )

    def require_project(self, project: str, field: str) -> None:
        """Raises PermissionDenied for a project that is not one of the caller's, whether there is
        anything in it or not."""
        if self.projects and project not in self.projects:
            raise PermissionDenied(
                f"{field}: token {self.token!r} is not for project {project!r}; it is for "
                f"{', '.join(self.projects)}, or ask for a token for {project!r}",
                reason="PROJECT_NOT_ALLOWED",
                metadata={"token": self.token, "project": project},
            )


# Without a default: what runs outside of a call has no rights to go by.
_current: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the call under way. LookupError outside of one."""
    return _current.get()


def set_caller(who: Caller) -> None:
    """Says who makes the call that this task answers."""
    _current.set(who)
