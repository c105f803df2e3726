"""Whether a device computed the right thing: its output beside this machine's, on the same file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# By which two right implementations of one graph may differ. Errors are of the output's own range.
#   float: sums in another order: 1e-6 to 1e-5 was seen between processors; a wrong kernel is
#     off by whole percents.
#   half: numbers with 11 bits of precision, through tens of layers. Accelerators compute float
#     graphs so, too.
#   integer: each layer rounds, and where one implementation rounds a half up and another to even,
#     or one computes in float between Q and DQ, codes differ by one, and more after many layers.
#     Two ways in which ONNX Runtime itself runs such a graph were 45 to 59 dB apart on images like
#     those it was calibrated on, and 25 to 31 on noise and in the dark. A network whose
#     convolutions do nothing gives its noisy input back, at about 20.
FLOAT_MAX_ABS_ERR = 1e-3
HALF_MAX_ABS_ERR = 3e-2
#   integer, counted: the same library, release and optimizations here and there, so that only the
#     kernels' rounding is left: a code that differs by one here and there.
INTEGER_MIN_PSNR_DB = 24.0
COUNTED_MIN_PSNR_DB = 35.0

_LEVELS = {"disable": 0, "basic": 1, "extended": 2, "all": 99}  # as ONNX Runtime numbers them
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Difference:
    """How far an output is from another.

    Attributes:
        max_abs_err: of the other's range.
        psnr_db: None where they are equal, for then it is infinite.
    """

    max_abs_err: float
    psnr_db: float | None


@dataclass(frozen=True)
class Verdict:
    """What became of checking an output.

    Attributes:
        checked: False where there was nothing to compare with.
        problem: None where it is right.
    """

    checked: bool
    difference: Difference | None = None
    problem: str | None = None


def compare(output: np.ndarray, reference: np.ndarray) -> Difference:
    """Give how far an output is from what it should be; both of one size, float32."""
    error = np.abs(output.astype(np.float64) - reference.astype(np.float64))
    span = float(np.ptp(reference.astype(np.float64))) or 1.0
    mean_square = float(np.mean(error**2))
    psnr_db = 10 * np.log10(span**2 / mean_square) if mean_square > 0 else None
    return Difference(float(error.max(initial=0.0)) / span, psnr_db and float(psnr_db))


def problem_of(
    output: np.ndarray,
    reference: np.ndarray,
    kind: str,
    provider: str,
    least_db: float = INTEGER_MIN_PSNR_DB,
) -> str | None:
    """Say why an output is wrong, beside a reference; None where it is right.

    Args:
        kind: of the artifact. The user's own files may hold anything, so they get the widest bound.
        least_db: the least PSNR of an integer graph.
    """
    if output.size != reference.size:
        return f"it has {output.size} values, {reference.size} are due"
    if not np.isfinite(output).all() and np.isfinite(reference).all():
        return f"{np.count_nonzero(~np.isfinite(output))} of its values are not finite"
    seen = compare(output, reference)
    if kind.startswith("int8") or kind == "external":
        if seen.psnr_db is not None and seen.psnr_db < least_db:
            return f"PSNR {seen.psnr_db:.1f} dB, least is {least_db:g}"
        return None
    half = kind.startswith("fp16") or provider == "nnapi"
    most = HALF_MAX_ABS_ERR if half else FLOAT_MAX_ABS_ERR
    if seen.max_abs_err > most:
        return f"it is off by {seen.max_abs_err:.2g} of the range, {most:g} is the most"
    return None


class Checker:
    """Checks the outputs of one case: against this machine's, and each against the first.

    Attributes:
        reference: this machine's output; None where it cannot run the file.
    """

    def __init__(
        self,
        kind: str,
        provider: str,
        reference: np.ndarray | None,
        least_db: float = INTEGER_MIN_PSNR_DB,
    ) -> None:
        self.reference = reference
        self._kind, self._provider, self._least_db = kind, provider, least_db
        self._first: np.ndarray | None = None
        self._known: dict[str, Verdict] = {}

    def known(self, sha256: str) -> Verdict | None:
        """Give the verdict on an output of these bytes, if one was checked before."""
        return self._known.get(sha256)

    def check(self, output: np.ndarray, sha256: str) -> Verdict:
        """Judge an output, (values,) float32."""
        verdict = self._judge(output)
        self._known[sha256] = verdict
        if self._first is None and verdict.problem is None:
            self._first = output
        return verdict

    def _judge(self, output: np.ndarray) -> Verdict:
        difference, problem = None, None
        if self.reference is not None:
            problem = self._problem(output, self.reference)
            if output.size == self.reference.size and np.isfinite(output).all():
                difference = compare(output, self.reference)
        if problem is None and self._first is not None:
            unlike = self._problem(output, self._first)
            problem = unlike and f"unlike the first launch of this case, {unlike}"
        checked = self.reference is not None
        return Verdict(checked, difference, problem and f"the output is wrong: {problem}")

    def _problem(self, output: np.ndarray, reference: np.ndarray) -> str | None:
        return problem_of(output, reference, self._kind, self._provider, self._least_db)


def host_output(
    model: Path, values: Path, level: str, config: Mapping[str, str]
) -> np.ndarray | None:
    """Give what this machine's ONNX Runtime computes on its CPU, (values,) float32.

    Args:
        values: the input, raw little-endian float32.
        level: of optimization. `disable` computes what the file says, in float between Q and DQ:
            the reference for another processor, whose integer sums do not saturate as some of
            this one's do.

    Returns:
        None where it cannot run the file; the launches say why, if they cannot either.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel(_LEVELS[level])
    options.log_severity_level = _ERRORS_ONLY
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        batch = np.fromfile(values, "<f4").astype(np.float32).reshape(given.shape)
        (output,) = session.run(None, {given.name: batch})
    except Exception:  # ONNX Runtime's error classes have no other base in common
        return None
    return np.asarray(output, np.float32).reshape(-1)
