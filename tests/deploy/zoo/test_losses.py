import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import UsageError
from deploy.zoo.losses import LOSSES, charbonnier_loss, fft_loss, find_loss, psnr_loss

seeds = st.integers(0, 2**32 - 1)


def pair(seed, shape=(2, 3, 6, 5)):
    rng = np.random.default_rng(seed)
    return rng.random(shape), rng.random(shape)


def value(loss, restored, sharp):
    return float(loss(torch.from_numpy(restored), torch.from_numpy(sharp)))


@given(seeds)
def test_psnr_is_the_mean_over_images_of_ten_log_ten_of_their_squared_error(seed):
    restored, sharp = pair(seed)
    by_hand = [
        10 * np.log10(((a - b) ** 2).mean() + 1e-8) for a, b in zip(restored, sharp, strict=True)
    ]
    assert value(psnr_loss, restored, sharp) == pytest.approx(np.mean(by_hand), rel=1e-12)


def test_psnr_of_an_error_of_a_tenth_is_minus_twenty_db():
    sharp = np.zeros((1, 3, 4, 4))
    assert value(psnr_loss, sharp + 0.1, sharp) == pytest.approx(-20, abs=1e-5)


def test_psnr_of_equal_images_is_minus_eighty_db():
    sharp, _ = pair(0)
    assert value(psnr_loss, sharp, sharp) == pytest.approx(-80)


@given(seeds)
def test_charbonnier_is_the_mean_root_of_the_squared_error_and_a_millionth(seed):
    restored, sharp = pair(seed)
    by_hand = np.sqrt((restored - sharp) ** 2 + 1e-6).mean()
    assert value(charbonnier_loss, restored, sharp) == pytest.approx(by_hand, rel=1e-12)


@given(seeds)
def test_charbonnier_lies_just_above_the_absolute_error(seed):
    restored, sharp = pair(seed)
    absolute = np.abs(restored - sharp).mean()
    assert absolute <= value(charbonnier_loss, restored, sharp) <= absolute + 1e-3


@given(seeds)
def test_fft_is_the_mean_absolute_difference_of_both_parts_of_the_spectra(seed):
    restored, sharp = pair(seed)
    spectrum = np.fft.fft2(restored) - np.fft.fft2(sharp)
    by_hand = (np.abs(spectrum.real) + np.abs(spectrum.imag)).mean() / 2
    assert value(fft_loss, restored, sharp) == pytest.approx(by_hand, rel=1e-9)


def test_fft_of_a_brighter_image_is_its_one_frequency():
    sharp = np.zeros((1, 1, 4, 8))
    # one value of 32 * 0.5 among 32 complex ones
    assert value(fft_loss, sharp + 0.5, sharp) == pytest.approx(16 / 64)


@given(seeds, st.sampled_from(sorted(LOSSES)))
def test_a_loss_does_not_tell_which_of_the_two_images_is_the_sharp_one(seed, name):
    restored, sharp = pair(seed)
    loss = LOSSES[name]
    assert value(loss, restored, sharp) == pytest.approx(value(loss, sharp, restored), rel=1e-12)


@given(seeds, st.sampled_from(sorted(LOSSES)), st.floats(1.1, 5))
def test_a_loss_grows_with_the_error(seed, name, times):
    restored, sharp = pair(seed)
    loss, further = LOSSES[name], sharp + (restored - sharp) * times
    assert value(loss, further, sharp) > value(loss, restored, sharp)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_equal_images_have_a_gradient_of_zero(name):
    sharp = torch.rand(1, 3, 4, 4)
    restored = sharp.clone().requires_grad_()
    LOSSES[name](restored, sharp).backward()
    assert torch.equal(restored.grad, torch.zeros_like(sharp))


@given(seeds)
def test_a_name_is_the_weighted_sum_that_it_spells(seed):
    restored, sharp = pair(seed)
    charbonnier, fft = (value(LOSSES[one], restored, sharp) for one in ("charbonnier", "fft"))
    both = value(find_loss("charbonnier+0.01fft"), restored, sharp)
    assert both == pytest.approx(charbonnier + 0.01 * fft, rel=1e-9)


def test_a_single_name_is_that_loss():
    assert find_loss("psnr") is psnr_loss


@pytest.mark.parametrize(
    "name", ["", "l1", "psnr+", "+psnr", "psnr+0.01l1", "0.01", "-1psnr", ".fft", "psnr fft"]
)
def test_another_name_is_refused_with_those_there_are(name):
    with pytest.raises(UsageError, match=r"unknown loss .*: use psnr, charbonnier, fft, or a sum"):
        find_loss(name)


def test_a_term_that_weighs_nothing_is_refused():
    with pytest.raises(UsageError, match="'0fft' weighs nothing"):
        find_loss("psnr+0fft")
