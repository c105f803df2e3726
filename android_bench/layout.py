"""What has to lie on a device before its launches, and putting it there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from android_bench.device import Device
from android_bench.launch import Case, Target
from android_bench.plan import BenchPlan
from deploy.errors import TransientDeviceError


@runtime_checkable
class CanReturn(Protocol):
    """A device that can go away and come back."""

    def await_ready(self, timeout_s: float) -> None:
        """Wait until it can be used, at most so long.

        Raises:
            DeviceError: it cannot, or not in time.
        """
        ...


class Layout:
    """What has to lie on the device, and putting it there."""

    def __init__(
        self,
        cases: Sequence[Case],
        identity: dict[str, Any],
        device: Device,
        runner: Sequence[str],
        files: Sequence[Path],
    ) -> None:
        self._cases, self._described = cases, identity["cases"]
        self.device, self._runner = device, runner
        self._files = {str(path): path for path in files}

    def put(self) -> tuple[list[str], list[Target]]:
        """Put all files on the device, each named by what it holds and put there once.

        Returns:
            How to call the runner there, and every case with its paths there.

        Raises:
            DeviceError: the device refuses, or is gone.
        """
        there: dict[str, str] = {}

        def put(local: Path, name: str) -> str:
            if name not in there:
                there[name] = str(self.device.push(local, name))
            return there[name]

        argv = [
            put(self._files[word], self._files[word].name) if word in self._files else word
            for word in self._runner
        ]
        return argv, [
            replace(
                target,
                model=put(target.case.artifact.path, target.model),
                input=put(target.case.input, target.input),
            )
            for target in self.targets()
        ]

    def targets(self) -> list[Target]:
        """Give every case, with the names that its files get on the device."""
        return [
            Target(
                case,
                one["case_id"],
                # its ending tells the runtime the format
                model=f"{one['model_sha256']}{case.artifact.path.suffix or '.onnx'}",
                input=f"{one['input_sha256']}.f32",
                input_sha256=one["input_sha256"],
            )
            for case, one in zip(self._cases, self._described, strict=True)
        ]


def put_all(layout: Layout, plan: BenchPlan) -> tuple[list[str], list[Target]]:
    """Put all files on the device, as `Layout.put`; a phone that goes away is waited for.

    Raises:
        DeviceError: it did not come back, or went away too often.
    """
    for _ in range(plan.attempts - 1):
        try:
            return layout.put()
        except TransientDeviceError:
            await_return(layout.device, plan)
    return layout.put()


def await_return(device: Device, plan: BenchPlan) -> None:
    """Wait until a device that went away is back; one that cannot go away is there.

    Raises:
        DeviceError: it did not come back.
    """
    if isinstance(device, CanReturn):
        device.await_ready(plan.return_s)
