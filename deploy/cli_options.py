"""The options that commands share: their types and their help, said once."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    Path | None,
    typer.Argument(
        help="model file; left out: what the stage before left in --out", metavar="FILE"
    ),
]
Out = Annotated[Path, typer.Option("--out", help="folder of all artifacts and results")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Force = Annotated[bool, typer.Option("--force", help="do it again even if it is there already")]
Model = Annotated[
    str, typer.Option(help="a name of `mofa-deploy models`, or package.module:factory")
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="weights: .safetensors or a torch pickle of tensors only")
]
Shape = Annotated[
    str | None, typer.Option(help="input shape N,C,H,W  [default: the model's own, 1,3,256,256]")
]
Local = Annotated[
    bool,
    typer.Option(
        "--local", help="TLC: global average pools see as much of an image as in training"
    ),
]
LocalTrainPx = Annotated[
    int | None,
    typer.Option(
        help="with --local: side of the training crops, as the network sees them  [default: 256]",
        metavar="PX",
    ),
]
NoLayerNorm = Annotated[
    bool,
    typer.Option(
        "--no-layernorm", help="take LayerNorm out, as the MOFA paper did for the phone; no PSNR"
    ),
]
Pipeline = Annotated[
    Path | None,
    typer.Option(
        help="JSON file: how images become what the network takes  [default: its own, else RGB]"
    ),
]
Pad = Annotated[
    bool,
    typer.Option("--pad", help="let the graph pad and crop sides that the network does not take"),
]
HeldOut = Annotated[
    Path | None,
    typer.Option(
        help="folder with input/ and target/ images to judge on  [default: demo photographs]"
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="folder of training images to calibrate on  [default: demo photographs]"),
]
Crops = Annotated[int, typer.Option(help="calibration crops")]
Seed = Annotated[int, typer.Option(help="seed of every choice made by chance")]
Targets = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="hardware, several separated by commas: arm-cpu, arm-cpu-u8 (for chips with i8mm), "
        "x86, nnapi, xnnpack, qnn, qnn-u16  [default: arm-cpu]",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="fast: all integer; accurate: sums and last convolution in float  [default: fast]"
    ),
]
TunedFile = Annotated[
    Path | None,
    typer.Option(
        "--tuned",
        help="what `mofa-deploy tune` wrote: its choice, where no option says otherwise",
        metavar="FILE",
    ),
]
Method = Annotated[
    str,
    typer.Option(help="of choosing ranges: auto searches; or minmax, percentile-P, entropy, mse"),
]
SearchOn = Annotated[
    Path | None,
    typer.Option(
        help="folder with input/ and target/ to choose the recipe on  [default: some of --data, "
        "left out of calibration]"
    ),
]
Also = Annotated[
    str | None,
    typer.Option(
        help="forms to compare with, by commas: dynamic (ranges at run time), fp16", metavar="FORMS"
    ),
]
MaxPsnrDrop = Annotated[
    float | None,
    typer.Option(
        help="most dB of PSNR to lose against the truth; keeps in float what it takes",
        metavar="DB",
    ),
]
MinPsnr = Annotated[
    float, typer.Option("--min-psnr-vs-fp32", help="least PSNR in dB of int8 against fp32")
]
# the forms are those of deploy.rewrites.forms, which a test holds: nothing of ours loads here
LayerNorm = Annotated[
    str | None,
    typer.Option("--layernorm", metavar="auto|lp|fused|folded|keep", help="of LayerNorm2d"),
]
Shuffle = Annotated[
    str | None, typer.Option("--shuffle", metavar="auto|nhwc|dcr|keep", help="of PixelShuffle")
]
Gate = Annotated[
    str | None, typer.Option("--gate", metavar="auto|convs|keep", help="of SimpleGate")
]
Attention = Annotated[
    str | None,
    typer.Option("--attention", metavar="auto|wide|keep", help="of channel attention"),
]
Ends = Annotated[
    str | None,
    typer.Option(
        "--ends", metavar="auto|rows|blocks|padded|keep", help="of the first and last convolution"
    ),
]
Device = Annotated[str, typer.Option(help="a name of `mofa-deploy devices`")]
Launches = Annotated[int, typer.Option(help="fresh processes per graph")]
Seconds = Annotated[float, typer.Option(help="steady sampling per launch, in s")]
Warmup = Annotated[int, typer.Option(help="inferences kept apart before sampling")]
Threads = Annotated[int, typer.Option(help="threads of the runtime")]
Cooldown = Annotated[float, typer.Option(help="pause before each launch, in s")]
Timeout = Annotated[float, typer.Option(help="bound on one launch, in s")]

BUILD = Path("build")
