"""Names of networks: every network of the two papers, and how to make a spec of a user's own.

Imports no torch, so that names can be listed where there is none: only a factory loads its network.
"""

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deploy.errors import UsageError
from deploy.files import file_sha256
from deploy.pipeline import PMRID_RAW, RGB, Pipeline
from deploy.spec import TRAIN_PX, Conversion, ModelSpec, TensorSpec, network_image

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path(__file__).parent / "weights"

NAFNET = "NAFNet (arXiv:2204.04676)"
MOFA = "MOFA paper (arXiv:2308.12494)"
THESIS = "thesis (N. Kuspys, UCU, 2023)"


def _pmrid(table: Literal[1, 2, 3, 6], row: int | str) -> "nn.Module":
    from deploy.zoo import pmrid

    tables: dict[int, Mapping[Any, pmrid.PmridChoices]] = {
        1: pmrid.MOFA_TABLE_1,
        2: pmrid.MOFA_TABLE_2,
        3: pmrid.MOFA_TABLE_3,
        6: pmrid.MOFA_TABLE_6,
    }
    return pmrid.Pmrid(choices=tables[table][row])


def _pmrid_raw() -> "nn.Module":
    from deploy.zoo.pmrid import Pmrid

    return Pmrid(image_channels=4)


def _nafnet_tiny() -> "nn.Module":
    from deploy.zoo.nafnet import nafnet_tiny

    return nafnet_tiny()


def _nafnet_mofa() -> "nn.Module":
    from deploy.zoo.nafnet_mofa import nafnet_mofa

    return nafnet_mofa()


def _nafnet_sidd() -> "nn.Module":
    from deploy.zoo.nafnet_sizes import nafnet_sidd_width32

    return nafnet_sidd_width32()


def _thesis(width: int, blocks: int) -> "nn.Module":
    from deploy.zoo.nafnet_sizes import thesis_nafnet

    return thesis_nafnet(width, blocks)


def _with_attention(step: str) -> "nn.Module":
    from deploy.zoo.attention_gate import with_attention
    from deploy.zoo.nafnet_sizes import thesis_nafnet

    return with_attention(thesis_nafnet(16, 18), step)


def _final_attention() -> "nn.Module":
    from deploy.zoo.attention_gate import nafnet_16_18_sa

    return nafnet_16_18_sa()


def _separable(part: Literal["high", "low", "all"]) -> "nn.Module":
    from deploy.zoo.nafnet_separable import with_separable_convs
    from deploy.zoo.nafnet_sizes import thesis_nafnet

    return with_separable_convs(thesis_nafnet(16, 18), part)


_CONVERTED: dict[Conversion, str] = {"local": "TLC", "no-layernorm": "LayerNorm removed"}


def made_local(spec: ModelSpec, train_px: int = TRAIN_PX) -> ModelSpec:
    """Give the spec with TLC for training crops of this side; its name says the side if not 256.

    Raises:
        UsageError: it is local already, for crops of another side.
    """
    local = converted(spec, "local")
    if train_px == local.train_px:
        return local
    if local is spec:
        raise UsageError(
            f"{spec.name} is local for training crops of {spec.train_px} px, not {train_px}",
            "name the network without -local, and pass --local with --local-train-px",
        )
    return replace(
        local,
        name=f"{local.name}-{train_px}px",
        source=f"{local.source} for training crops of {train_px} px",
        train_px=train_px,
    )


def converted(spec: ModelSpec, conversion: Conversion) -> ModelSpec:
    """Give the spec with one more conversion, which its name then says; itself if it has it."""
    if conversion in spec.conversions:
        return spec
    return replace(
        spec,
        name=f"{spec.name}-{conversion}",
        source=f"{spec.source}; {_CONVERTED[conversion]}",
        conversions=(*spec.conversions, conversion),
    )


def _model(
    name: str,
    factory: "Callable[[], nn.Module]",
    source: str,
    *,
    checkpoint: Path | None = None,
    pipeline: Pipeline = RGB,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        factory=factory,
        checkpoint=checkpoint,
        inputs=(network_image("input", pipeline),),
        outputs=(network_image("output", pipeline),),
        source=source,
        licence="Apache-2.0",
        pipeline=pipeline,
    )


_TABLE_1 = f"{MOFA}, Table 1, row"
_TABLE_2 = f"{MOFA}, Table 2: PConv, a half of the channels in"
_TABLE_3 = f"{MOFA}, Table 3: row 5 of Table 1,"
_TABLE_6 = f"{MOFA}, Table 6: the final model, PDWConv from"
_SIZES = f"{THESIS}, Table 6.1: NAFNetLocal"
_ATTENTION = f"{THESIS}, Table 6.5: 16-18 with soft attention in its skips"
_SEPARABLE = f"{THESIS}, Table 6.4: 16-18, separable convolutions in"

_THESIS_SIZES = (
    _model("nafnet-32-36", partial(_thesis, 32, 36), f"{_SIZES}-32-36, {NAFNET} for GoPro"),
    _model("nafnet-32-18", partial(_thesis, 32, 18), f"{_SIZES}-32-18"),
    _model("nafnet-16-36", partial(_thesis, 16, 36), f"{_SIZES}-16-36"),
    _model("nafnet-16-18", partial(_thesis, 16, 18), f"{_SIZES}-16-18"),
    _model("nafnet-16-9", partial(_thesis, 16, 9), f"{_SIZES}-16-9"),
)

_ALL = (
    _model("pmrid", partial(_pmrid, 1, 1), f"{MOFA}, Table 4, row 1: PMRID for RGB"),
    _model(
        "pmrid-raw",
        _pmrid_raw,
        "PMRID (Wang et al., ECCV 2020): packed raw; MegEngine/PMRID has weights (Apache-2.0)",
        pipeline=PMRID_RAW,
    ),
    _model("pmrid-mofa", partial(_pmrid, 1, 8), f"{MOFA}, Table 4, row 2: PMRID_mofa"),
    _model("mofa-1-row1", partial(_pmrid, 1, 1), f"{_TABLE_1} 1: PMRID"),
    _model("mofa-1-row2", partial(_pmrid, 1, 2), f"{_TABLE_1} 2: stride-1 separable to PConv 1/4"),
    _model("mofa-1-row3", partial(_pmrid, 1, 3), f"{_TABLE_1} 3: row 2, 1/2 in middle layers"),
    _model("mofa-1-row4", partial(_pmrid, 1, 4), f"{_TABLE_1} 4: row 2, 1/2 in cheap layers"),
    _model("mofa-1-row5", partial(_pmrid, 1, 5), f"{_TABLE_1} 5: row 2, 1/2 in both"),
    _model("mofa-1-row6", partial(_pmrid, 1, 6), f"{_TABLE_1} 6: row 1, upsampling decoupled"),
    _model("mofa-1-row7", partial(_pmrid, 1, 7), f"{_TABLE_1} 7: row 2, every PConv a PDWConv"),
    _model(
        "mofa-1-row8",
        partial(_pmrid, 1, 8),
        f"{_TABLE_1} 8: row 5, upsampling decoupled, PDWConv from 32 channels: PMRID_mofa",
    ),
    _model("mofa-2-enc3-dec2", partial(_pmrid, 2, "enc3-dec2"), f"{_TABLE_2} enc3 and dec2"),
    _model("mofa-2-enc2-dec3", partial(_pmrid, 2, "enc2-dec3"), f"{_TABLE_2} enc2 and dec3"),
    _model("mofa-2-enc1-dec4", partial(_pmrid, 2, "enc1-dec4"), f"{_TABLE_2} enc1 and dec4"),
    _model("mofa-3-none", partial(_pmrid, 3, "none"), f"{_TABLE_3} no replacement"),
    _model("mofa-3-upsampling", partial(_pmrid, 3, "upsampling"), f"{_TABLE_3} upsampling"),
    _model("mofa-3-downsampling", partial(_pmrid, 3, "downsampling"), f"{_TABLE_3} downsampling"),
    _model("mofa-6-0", partial(_pmrid, 6, 0), f"{_TABLE_6} 0 channels"),
    _model("mofa-6-16", partial(_pmrid, 6, 16), f"{_TABLE_6} 16 channels"),
    _model("mofa-6-32", partial(_pmrid, 6, 32), f"{_TABLE_6} 32 channels: PMRID_mofa"),
    _model("mofa-6-64", partial(_pmrid, 6, 64), f"{_TABLE_6} 64 channels"),
    _model("mofa-6-128", partial(_pmrid, 6, 128), f"{_TABLE_6} 128 channels"),
    _model(
        "nafnet-tiny",
        _nafnet_tiny,
        f"{MOFA}, Table 4, row 3; weights trained by this project",
        checkpoint=WEIGHTS / "nafnet-tiny-demo.safetensors",
    ),
    _model("nafnet-mofa", _nafnet_mofa, f"{MOFA}, Table 4, row 4: NAFNet_mofa"),
    *_THESIS_SIZES,
    *(converted(size, "local") for size in _THESIS_SIZES),
    _model("nafnet-32-sidd", _nafnet_sidd, f"{NAFNET}, SIDD, width 32"),
    # The thesis' figure of the gate is lost: deploy/zoo/attention_gate.py says what was taken.
    _model("nafnet-16-18-sa-naive", partial(_with_attention, "naive"), f"{_ATTENTION}, naive"),
    _model(
        "nafnet-16-18-sa-activation",
        partial(_with_attention, "activation"),
        f"{_ATTENTION}, GELU",
    ),
    _model(
        "nafnet-16-18-sa-normalization",
        partial(_with_attention, "normalization"),
        f"{_ATTENTION}, GELU, layer normalization",
    ),
    _model(
        "nafnet-16-18-sa-upsample",
        partial(_with_attention, "upsample"),
        f"{_ATTENTION}, GELU, layer normalization, transposed convolution",
    ),
    _model("nafnet-16-18-sa", _final_attention, f"{THESIS}, Table 6.7: the final model"),
    # Which convolutions is not said: deploy/zoo/nafnet_separable.py says what was taken.
    _model(
        "nafnet-16-18-separable-high", partial(_separable, "high"), f"{_SEPARABLE} its fine half"
    ),
    _model(
        "nafnet-16-18-separable-low", partial(_separable, "low"), f"{_SEPARABLE} its coarse half"
    ),
    _model("nafnet-16-18-separable-all", partial(_separable, "all"), f"{_SEPARABLE} all of it"),
)

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _ALL}


def find_model(name: str) -> ModelSpec:
    """Give the spec of a registered network.

    Raises:
        UsageError: no such name; the nearest ones are given.
    """
    if name in MODELS:
        return MODELS[name]
    nearest = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.3) or list(MODELS)[:3]
    raise UsageError(
        f"unknown model {name!r}",
        f"did you mean {', '.join(nearest)}? `mofa-deploy models` lists them all; "
        "your own network is --model package.module:factory",
    )


def user_model(factory: str, checkpoint: Path | None, shape: Sequence[int]) -> ModelSpec:
    """Give the spec of a user's own network, imported from `package.module:factory`.

    The current folder is importable, as it is for `python -m`.

    Raises:
        UsageError: the text has another form, or names nothing that can be called.
    """
    module_name, _, attribute = factory.partition(":")
    if not re.fullmatch(r"[\w.]+:[\w.]+", factory):
        raise UsageError(f"model {factory!r} is not package.module:factory", "name it like that")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        built = importlib.import_module(module_name)
        for part in attribute.split("."):
            built = getattr(built, part)
    except Exception as error:  # a user's module may raise anything
        raise UsageError(
            f"cannot import {factory!r} ({error})", "check the spelling and the current folder"
        ) from error
    if not callable(built):
        raise UsageError(f"{factory!r} is not callable", "name a class or a function")

    def build() -> "nn.Module":
        try:
            return built()
        except Exception as error:  # a user's factory may raise anything
            raise UsageError(
                f"{factory} builds no network ({type(error).__name__}: {error})",
                "call it without arguments, as mofa-deploy does, and mend what it raises",
            ) from error

    tensor = TensorSpec("input", tuple(shape))
    code = inspect.getsourcefile(sys.modules[module_name])
    edition = f" ({Path(code).name}, sha256 {file_sha256(Path(code))[:16]})" if code else ""
    return ModelSpec(
        name=attribute.lower().replace("_", "-").replace(".", "-"),
        factory=build,
        checkpoint=checkpoint,
        inputs=(tensor,),
        outputs=(TensorSpec("output", tuple(shape)),),
        source=f"{factory}{edition}",  # an edited network is another one, and is exported anew
        licence="the user's own",
    )
