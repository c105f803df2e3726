"""Which release of ONNX Runtime reads which model, and what a user has to fetch.

The one place that knows of releases. Imports only `deploy.errors` of ours.
"""

from dataclasses import dataclass
from pathlib import Path

from deploy.errors import ArtifactError, DeviceError

GROUP, NAME = "com.microsoft.onnxruntime", "onnxruntime-android"
PINNED_VERSION = "1.24.3"  # the version that Maven is asked for
COORDINATES = f"{GROUP}:{NAME}:{PINNED_VERSION}"

# minor release of ONNX Runtime 1.x -> newest opset of ai.onnx and newest IR version that it reads.
# Source: measured with the wheels 1.19.2 to 1.31.1, one Relu at every opset and IR version.
READS = {
    19: (21, 10),
    20: (21, 10),
    21: (22, 10),
    22: (22, 10),
    23: (23, 11),
    24: (25, 13),
    25: (26, 13),
    26: (26, 13),
    27: (26, 13),
    28: (26, 13),
    29: (26, 13),
    30: (26, 13),
    31: (26, 13),
}


@dataclass(frozen=True)
class Needs:
    """What a model asks of the runtime that reads it; None where the file does not tell.

    Attributes:
        model: its name, for messages.
    """

    model: str
    opset: int | None
    ir_version: int | None


def read_needs(model: Path) -> Needs:
    """Read the opset and the IR version of an .onnx file; an .ort file does not tell them.

    Raises:
        ArtifactError: the file is missing or broken.
    """
    if model.suffix == ".ort":
        return Needs(model.name, None, None)
    import onnx

    try:
        proto = onnx.load(model, load_external_data=False)
    except Exception as error:  # protobuf raises its own, undocumented types
        raise ArtifactError(f"cannot read {model} ({error})", "name an .onnx file") from error
    opsets = [one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")]
    return Needs(model.name, max(opsets, default=None), proto.ir_version or None)


def require_reads(needs: Needs, version: str | None, abi: str) -> None:
    """Check that a release reads a model's opset and IR version, as far as both are known.

    Raises:
        DeviceError: it does not; the oldest release that does is named.
    """
    limits = read_limits(version)
    if limits is None:
        return
    for what, needed, newest in (
        ("opset", needs.opset, limits[0]),
        ("IR version", needs.ir_version, limits[1]),
    ):
        if needed is not None and needed > newest:
            raise DeviceError(
                f"{needs.model} has {what} {needed}, and ONNX Runtime {version} "
                f"for {abi} reads up to {newest}",
                _what_reads(needs),
            )


def read_limits(version: str | None) -> tuple[int, int] | None:
    """Give the newest opset and IR version that a release reads; None where that is not known.

    A release younger than the table reads at least what the youngest one in it does.
    """
    major, minor, *_ = [*version_parts(version), 0, 0]
    if major != 1 or minor < min(READS):
        return None
    return READS[min(minor, max(READS))]


def what_to_fetch(version: str = PINNED_VERSION, *, has_maven: bool = False) -> str:
    """Say where a user gets the library, as the next step of an error.

    Args:
        has_maven: it was asked already, and failed.
    """
    otherwise = "" if has_maven else "; with `mvn` installed it is fetched by itself"
    return (
        f"get {GROUP}:{NAME}:{version} from Maven Central, as an .aar, "
        f"and run `mofa-deploy runtime add FILE`{otherwise}"
    )


def _what_reads(needs: Needs) -> str:
    """Say what a user can do about a model that a release is too old for."""
    for minor, (opset, ir_version) in sorted(READS.items()):
        if (needs.opset or 0) <= opset and (needs.ir_version or 0) <= ir_version:
            pinned = minor <= version_parts(PINNED_VERSION)[1]
            return what_to_fetch(PINNED_VERSION if pinned else f"1.{minor}.0 or later")
    opset, ir_version = READS[max(READS)]
    return f"export it with opset {opset} and IR version {ir_version} or older ones"


def version_parts(version: str | None) -> list[int]:
    """Give `1.24.3` as numbers, to be compared; [0] where there is no version."""
    return [int(part) for part in (version or "0").split(".")]
