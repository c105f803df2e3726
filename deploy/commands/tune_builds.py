"""The graphs that are tuned between: made quickly to be timed, and in full to be taken.

A graph's speed does not depend on its ranges. So what is only timed is calibrated on few crops and
searches for no recipe; what is chosen, and what it is compared with at last, is made exactly as
`prepare`, `quantize` and `optimize` make it.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from calib.crops import CropSet
from calib.stream import collect_statistics
from deploy.artifact import Artifact
from deploy.commands.images import calibration_crops
from deploy.commands.mix import Bounds
from deploy.commands.progress import clock
from deploy.commands.quantize import AUTO, quantize_model
from deploy.commands.search import spread
from deploy.commands.stages import prepare_from
from deploy.commands.tune_space import forms_name
from deploy.errors import MofaError, OutputError
from deploy.fidelity import Probe
from deploy.onnx_file import image_input, load_graph
from deploy.optimize import optimize
from deploy.placement import calibrated_tensors
from deploy.prepare import prepare
from deploy.quantize import FloatGraph, float_model, quantize
from deploy.recipe import Recipe
from deploy.rewrites.forms import Forms
from deploy.targets import find_target
from deploy.tuning import Choice

QUICK_CROPS = 16  # that a graph is calibrated on while it is only timed
QUICK_PROBE = 4  # crops that such a graph is checked on
FULL = "full"  # the folder of what is made as the line makes it


@dataclass(frozen=True)
class Calibration:
    """How the graphs that may be taken are calibrated; as the options of `quantize`."""

    data: Path | None = None
    crops: int = 1000
    seed: int = 0
    method: str = AUTO
    search_on: Path | None = None
    held_out: Path | None = None


@dataclass(frozen=True)
class Quick:
    """A graph made to be timed.

    Attributes:
        optimized: as `optimize` makes it.
        vs_fp32_db: PSNR of the integer graph's output against the float one's.
    """

    optimized: Artifact
    vs_fp32_db: float | None


@dataclass(frozen=True)
class Built:
    """A graph made in full.

    Attributes:
        optimized: as `optimize` makes it.
        psnr_db: of the integer graph on held-out images; None without a truth.
        drop_db: what it loses there against the float graph; None without a truth.
    """

    optimized: Artifact
    psnr_db: float | None
    drop_db: float | None


@dataclass
class Workshop:
    """Makes candidates, each once: what is there from the same inputs is taken as it is.

    Attributes:
        build: folder of the line's artifacts, with the calibration cache.
        folder: of what is made here.
        probe: of the plain model.
    """

    plain: Artifact
    build: Path
    folder: Path
    probe: Probe
    calibration: Calibration
    _quick: dict[Choice, Quick] = field(default_factory=dict)
    _float: dict[Forms, Artifact] = field(default_factory=dict)
    _crops: CropSet | None = None

    def quick(self, choice: Choice, where: str) -> Quick:
        """Give the optimized graph of a choice, calibrated on a few crops.

        Args:
            where: how far the tuning is, to be shown.

        Raises:
            MofaError: it cannot be made in these forms.
        """
        if choice not in self._quick:
            self._chosen()  # has a clock of its own, and two cannot be drawn at once
            with clock(f"{where}: making {forms_name(choice.forms)}, {choice.preset}"):
                self._quick[choice] = self._make_quick(choice)
        return self._quick[choice]

    def in_float(self, choice: Choice, where: str) -> Artifact:
        """Give the optimized float graph in a choice's forms, for a comparison.

        Raises:
            MofaError: it cannot be made.
        """
        fp32 = self._prepared(choice.forms)
        with clock(f"{where}: optimizing the float graph"):
            target = find_target(choice.target)
            return optimize(fp32, target, fp32.path.parent, self._bare)[0]

    def _make_quick(self, choice: Choice) -> Quick:
        fp32 = self._prepared(choice.forms)
        target, recipe = find_target(choice.target), Recipe(choice.preset)
        crops = spread(self._chosen(), QUICK_CROPS)
        tensors = calibrated_tensors(float_model(load_graph(fp32.path)))
        cache = self.build / "calib"
        base = FloatGraph(fp32.path, collect_statistics(fp32.path, crops, cache, tensors=tensors))
        into = fp32.path.parent / choice.preset
        int8, _ = quantize(
            fp32, base, target, into, self._bare, recipe=recipe, crops=crops.record()
        )
        optimized, _ = optimize(int8, target, into, self._bare)
        return Quick(optimized, int8.fidelity.get("psnr_vs_fp32_db"))

    @property
    def _bare(self) -> Probe:
        """Without the pairs: PSNR against fp32 is enough of what is only timed."""
        few = self.probe.crops[:: max(1, len(self.probe.crops) // QUICK_PROBE)][:QUICK_PROBE]
        return replace(
            self.probe, name=f"{len(few)} crops of {self.probe.name}", crops=few, pairs=()
        )

    def _prepared(self, forms: Forms) -> Artifact:
        """Give the float graph; forms that write the same bytes share it, and its calibration."""
        if forms not in self._float:
            made, _ = prepare(self.plain, self.folder / forms_name(forms), self._bare, forms=forms)
            same = (one for one in self._float.values() if one.sha256 == made.sha256)
            self._float[forms] = next(same, made)
        return self._float[forms]

    def _chosen(self) -> CropSet:
        if self._crops is None:
            asked = self.calibration
            *_, height, width = image_input(load_graph(self.plain.path), self.plain.path).shape
            self._crops = calibration_crops(
                self.build,
                asked.data,
                self.plain,
                count=min(asked.crops, QUICK_CROPS),
                size=(height, width),
                seed=asked.seed,
            )
        return self._crops

    def full(self, choice: Choice, where: str) -> Built:
        """Give a choice as the line makes it, with what it loses on held-out images.

        Raises:
            MofaError: as `quantize_model` and `optimize`.
        """
        asked = self.calibration
        folder = self.folder / FULL / forms_name(choice.forms)
        into = folder / choice.preset
        fp32, _ = prepare_from(self.plain, folder, self.probe, False, choice.forms)
        made = quantize_model(
            fp32.path,
            self.build,
            targets=[choice.target],
            data=asked.data,
            crops=asked.crops,
            seed=asked.seed,
            held_out=asked.held_out,
            bounds=Bounds(),
            force=False,
            preset=choice.preset,
            method=asked.method,
            search_on=asked.search_on,
            into=into,
        )
        ((int8, _),) = made
        with clock(f"{where}: optimizing it for {choice.target}") as count:
            probe = replace(self.probe, on_image=count)
            optimized, _ = optimize(int8, find_target(choice.target), into, probe)
        before, after = (one.fidelity.get("psnr_db") for one in (fp32, int8))
        drop = before - after if before is not None and after is not None else None
        return Built(optimized, after, drop)


def can_be_made(workshop: Workshop, choice: Choice, where: str) -> Quick | MofaError:
    """Give the quick graph of a choice, or why there is none; a folder that refuses is no reason.

    Raises:
        OutputError: the folder refuses.
    """
    try:
        return workshop.quick(choice, where)
    except OutputError:
        raise
    except MofaError as error:
        return error
