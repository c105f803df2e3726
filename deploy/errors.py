"""Every error a user can cause or meet. Imports nothing.

MofaError
├── UsageError            a name or an option that fits nothing (unknown model, bad shape)
├── CheckpointError       weights that do not load or do not fit the network
├── DataError             images or crops that cannot be used
├── ArtifactError         a model file or its sidecar is missing, ambiguous, stale or broken
│   └── OutputError       the place to write to refuses (read-only, full)
├── GraphError            an ONNX graph that a stage cannot take
├── FidelityError         a stage's output strays too far from its input
├── RowsError             measured rows that are missing, broken or unlike each other
└── DeviceError           a device that cannot be used; retrying does not help
    ├── TransientDeviceError   retrying may help (offline, transport)
    └── BenchOutputError       the runner's output breaks its protocol
"""


class MofaError(Exception):
    """Base of all expected errors: one line that names the thing, the value and the next step.

    Attributes:
        problem: what is wrong, naming the thing and its value.
        next_step: what the user can do about it.
    """

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(problem, next_step)
        self.problem = problem
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.problem}: {self.next_step}"


class UsageError(MofaError):
    """A name or an option fits nothing."""


class CheckpointError(MofaError):
    """Weights do not load or do not fit the network."""


class DataError(MofaError):
    """Images or crops cannot be used."""


class ArtifactError(MofaError):
    """A model file or its sidecar is missing, ambiguous, stale or broken."""


class OutputError(ArtifactError):
    """The place to write to refuses."""


class GraphError(MofaError):
    """A stage cannot take this ONNX graph."""


class FidelityError(MofaError):
    """A stage's output strays too far from its input; nothing was written."""


class RowsError(MofaError):
    """Measured rows are missing, broken or unlike each other."""


class DeviceError(MofaError):
    """A device cannot be used, and trying again does not help."""


class TransientDeviceError(DeviceError):
    """A device cannot be used just now; trying again may help."""


class BenchOutputError(DeviceError):
    """The runner's output breaks its protocol."""
