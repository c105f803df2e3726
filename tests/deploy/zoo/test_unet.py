import pytest
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.complexity import measure_complexity
from deploy.zoo.nafnet import nafnet_tiny
from deploy.zoo.pmrid import Pmrid
from deploy.zoo.separable import SeparableConv
from deploy.zoo.unet import cheap_stages, find_stages, middle_stages, separable_halves


def test_pmrids_middle_and_cheap_stages_are_the_papers() -> None:
    stages = find_stages(Pmrid())

    assert middle_stages(stages) == ("enc3", "dec2")
    assert cheap_stages(stages) == ("encdec", "dec1", "dec2", "dec3", "dec4")


def test_nafnet_tinys_middle_stages_are_the_released_classs_and_none_is_cheap() -> None:
    stages = find_stages(nafnet_tiny())

    assert middle_stages(stages) == ("encoders.2", "decoders.0")
    assert cheap_stages(stages) == ()


def test_levels_are_halvings_of_the_image() -> None:
    levels = {stage.name: stage.level for stage in find_stages(Pmrid())}

    assert [levels[name] for name in ("conv0", "enc1", "enc4", "dec2", "out0")] == [0, 1, 4, 3, 0]


def test_stages_are_in_the_order_in_which_they_run() -> None:
    names = [stage.name for stage in find_stages(nafnet_tiny())]

    assert names[:3] == ["intro", "encoders.0", "downs.0"]
    assert names[-3:] == ["ups.2", "decoders.2", "ending"]


def test_shares_of_all_stages_are_one() -> None:
    assert sum(stage.share for stage in find_stages(nafnet_tiny())) == pytest.approx(1)


def test_stages_do_all_the_work_at_more_than_one_pixel() -> None:
    network = Pmrid()  # no global pools, so that is all of it

    assert sum(stage.macs for stage in find_stages(network)) == measure_complexity(network).macs


def test_vanilla_work_of_a_separable_pair_is_that_of_one_dense_convolution() -> None:
    (encdec,) = (stage for stage in find_stages(Pmrid()) if stage.name == "encdec")

    assert encdec.vanilla_macs == 16 * 16 * 512 * 64 * 3 * 3


def test_wrapper_with_one_part_is_entered() -> None:
    names = [stage.name for stage in find_stages(nn.Sequential(Pmrid()))]

    assert names[:2] == ["0.conv0", "0.enc1"]


def test_network_of_one_size_is_not_u_net_like() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))

    with pytest.raises(UsageError, match=r"Sequential is not U-Net-like: looked for.*256x256"):
        find_stages(plain)


def test_encoder_without_a_decoder_is_not_u_net_like() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 2, stride=2))

    with pytest.raises(UsageError, match="256x256, 128x128"):
        find_stages(encoder)


def test_network_without_convolutions_is_not_u_net_like() -> None:
    with pytest.raises(UsageError, match="sizes none"):
        find_stages(nn.Sequential(nn.ReLU()))


def test_pair_with_something_in_between_is_not_separable() -> None:
    depthwise, pointwise = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 8, 1)

    assert separable_halves(nn.Sequential(depthwise, nn.ReLU(), pointwise)) is None
    assert separable_halves(nn.Sequential(depthwise, pointwise)) == (depthwise, pointwise)
    assert separable_halves(SeparableConv(4, 8, 3)) is not None
