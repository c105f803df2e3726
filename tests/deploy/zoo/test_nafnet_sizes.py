import pytest

from deploy.errors import UsageError
from deploy.zoo.nafnet import NAFBlock
from deploy.zoo.nafnet_sizes import THESIS_SIZES, thesis_nafnet


@pytest.mark.parametrize(("width", "blocks"), THESIS_SIZES)
def test_name_says_the_width_and_the_number_of_blocks(width: int, blocks: int) -> None:
    network = thesis_nafnet(width, blocks)

    assert network.intro.out_channels == width
    assert sum(isinstance(module, NAFBlock) for module in network.modules()) == blocks


def test_fewer_blocks_than_stages_are_refused() -> None:
    with pytest.raises(UsageError, match=r"8 blocks.*at least 9"):
        thesis_nafnet(16, 8)
