import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from training import Plan, evaluate, fuse_layer_norms, train

from calib.raw import OPPO_RENO_10X, add_sensor_noise
from deploy.errors import UsageError
from deploy.pipeline import PMRID_RAW
from deploy.zoo.nafnet import NAFNet
from deploy.zoo.pmrid import Pmrid

PLAN = Plan("a small network on noise", steps=12, seed=5, save_every=4)

# One run in a process of its own, which may be killed by the batch of a step
KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from test_training import PLAN, Noise, small_network
from training import train

class Deadly(Noise):
    def __getitem__(self, step):
        if step == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(step)

train(small_network(), Deadly(), PLAN, Path(sys.argv[1]))
"""


class Noise(Dataset):
    """Flat images under noise."""

    def __getitem__(self, step):
        generator = torch.Generator().manual_seed(step)
        sharp = torch.rand(4, 3, 1, 1, generator=generator).expand(4, 3, 12, 12)
        return sharp + 0.1 * torch.randn(sharp.shape, generator=generator), sharp


@dataclass(frozen=True)
class Pair:
    name: str
    degraded: np.ndarray
    sharp: np.ndarray


def small_network():
    """With everything that a resumed run could forget: buffers, and chance."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.2), nn.Conv2d(8, 3, 1)
    )


def mean_loss(network):
    degraded, sharp = Noise()[1000]
    with torch.inference_mode():
        return float((network.eval()(degraded) - sharp).square().mean())


def test_training_lowers_the_loss(tmp_path):
    network = small_network()
    before = mean_loss(network)
    train(network, Noise(), replace(PLAN, steps=40), tmp_path / "state.pt")
    assert mean_loss(network) < 0.7 * before


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(tmp_path, pytestconfig):
    whole, resumed = small_network(), small_network()
    train(whole, Noise(), PLAN, tmp_path / "whole.pt")
    folders = [pytestconfig.rootpath / one for one in ("", "tools", "tests/tools")]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, tmp_path / "state.pt"],
        env={"PYTHONPATH": ":".join(map(str, folders))},
        check=False,
    )
    assert killed.returncode == -9
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 8
    trained = train(resumed, Noise(), PLAN, tmp_path / "state.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [step for step, _ in trained.loss_curve] == [4, 8, 12]


def test_a_finished_run_is_not_trained_again(tmp_path):
    train(small_network(), Noise(), PLAN, tmp_path / "state.pt")
    again = small_network()
    first = train(again, Noise(), PLAN, tmp_path / "state.pt")
    weights = {name: value.clone() for name, value in again.state_dict().items()}
    assert train(again, Noise(), PLAN, tmp_path / "state.pt").loss_curve == first.loss_curve
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 6}, "with seed 5, this one has 6"),
        ({"loss": "fft"}, "with loss 'psnr', this one has 'fft'"),
        ({"what": "other data"}, "with what 'a small network on noise', this one has 'other data'"),
    ],
)
def test_the_state_of_another_run_is_refused(tmp_path, change, said):
    train(small_network(), Noise(), PLAN, tmp_path / "state.pt")
    with pytest.raises(UsageError, match=said):
        train(small_network(), Noise(), replace(PLAN, **change), tmp_path / "state.pt")


def test_a_file_that_is_no_state_is_refused(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(UsageError, match="holds no saved state"):
        train(small_network(), Noise(), PLAN, tmp_path / "state.pt")


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(tmp_path):
    class Broken(Noise):
        def __getitem__(self, step):
            degraded, sharp = super().__getitem__(step)
            return degraded * float("nan" if step == 2 else 1), sharp

    with pytest.raises(UsageError, match="the loss of step 2 is nan"):
        train(small_network(), Broken(), PLAN, tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def test_the_learning_rate_warms_up_and_falls_to_its_last_value():
    plan = replace(PLAN, steps=4000)
    rates = [plan.rate(step) for step in range(4000)]
    assert rates[0] == pytest.approx(1e-3 / 200, rel=1e-3)
    assert max(rates) == rates[199]
    assert all(a > b for a, b in pairwise(rates[199:]))
    assert rates[-1] == pytest.approx(1e-6, rel=1e-2)


def test_fused_layer_norms_are_the_same_function_under_the_same_names():
    network = NAFNet(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    image, names = torch.rand(1, 3, 8, 8), list(network.state_dict())
    with torch.inference_mode():
        plain = network(image)
        fuse_layer_norms(network)
        fused = network(image)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(fused, plain)


def test_a_network_that_changes_nothing_is_judged_as_its_input():
    rng = np.random.default_rng(0)
    sharp = rng.random((21, 30, 3), dtype=np.float32)
    degraded = np.clip(sharp + rng.normal(0, 0.1, sharp.shape), 0, 1).astype(np.float32)
    (row,) = evaluate(nn.Identity(), [Pair("one", degraded, sharp)])
    assert row["restored_psnr_db"] == row["degraded_psnr_db"] == pytest.approx(20, abs=1)
    assert row["restored_ssim"] == row["degraded_ssim"] < 1


def test_whole_images_of_any_size_are_judged():
    image = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
    (row,) = evaluate(Pmrid().eval(), [Pair("one", image, 1 - image)])
    assert np.isfinite(row["restored_psnr_db"])


def test_raw_images_are_judged_through_their_pipeline():
    rng = np.random.default_rng(0)
    sharp = rng.random((22, 34), dtype=np.float32)
    noisy = add_sensor_noise(sharp, 3200, OPPO_RENO_10X, rng)
    (row,) = evaluate(nn.Identity(), [Pair("one.iso3200", noisy, sharp)], PMRID_RAW)
    assert row["restored_psnr_db"] == pytest.approx(row["degraded_psnr_db"], abs=1e-4)
