"""The depthwise-separable convolution, as PMRID has it."""

from torch import Tensor, nn


class SeparableConv(nn.Module):
    """(N, C, H, W) -> (N, out, H/stride, W/stride): depthwise k x k, then 1x1, nothing between.

    The default biases, and the key names, are PMRID's: on the 1x1 only.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | None = None,
        depthwise_bias: bool = False,
        pointwise_bias: bool = True,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=kernel // 2 if padding is None else padding,
            groups=channels,
            bias=depthwise_bias,
        )
        self.pointwise = nn.Conv2d(channels, out_channels, 1, bias=pointwise_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))
