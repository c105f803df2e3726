import numpy as np
import pytest
from bench_examples import write_case
from hypothesis import given
from hypothesis import strategies as st

from android_bench.correctness import Checker, compare, host_output, problem_of

IMAGE = np.linspace(-1, 3, 1000, dtype=np.float32)  # a range of 4


def noisy(psnr_db, seed=0):
    """Give the image with gaussian noise of that PSNR, of its own range."""
    noise = np.random.default_rng(seed).normal(size=IMAGE.size)
    wanted = np.ptp(IMAGE) * 10 ** (-psnr_db / 20)
    return (IMAGE + noise / np.sqrt(np.mean(noise**2)) * wanted).astype(np.float32)


def off_by(share):
    """Give the image with one value off by that share of its range."""
    image = IMAGE.copy()
    image[7] += share * np.ptp(IMAGE)
    return image


def test_an_equal_output_is_not_off_and_its_psnr_is_infinite():
    same = compare(IMAGE, IMAGE)
    assert (same.max_abs_err, same.psnr_db) == (0.0, None)


@given(st.floats(10, 80), st.integers(0, 9))
def test_psnr_is_of_the_reference_s_own_range(psnr_db, seed):
    assert compare(noisy(psnr_db, seed), IMAGE).psnr_db == pytest.approx(psnr_db, abs=0.1)


def test_the_error_is_a_share_of_the_range():
    assert compare(off_by(0.25), IMAGE).max_abs_err == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "provider", "output", "is_right"),
    [
        ("fp32", "cpu", off_by(1e-5), True),
        ("fp32", "cpu", off_by(1e-2), False),
        ("plain", "xnnpack", off_by(1e-2), False),
        ("fp32", "nnapi", off_by(1e-2), True),
        ("fp32", "nnapi", off_by(1e-1), False),
        ("fp16", "cpu", off_by(1e-2), True),
        ("int8-opt-arm-cpu", "cpu", off_by(1e-1), True),
        ("int8-nnapi", "nnapi", noisy(30), True),
        ("int8-nnapi", "nnapi", noisy(20), False),
        ("external", "cpu", noisy(40), True),
        ("external", "cpu", -IMAGE, False),
    ],
)
def test_what_may_differ_depends_on_the_arithmetic(kind, provider, output, is_right):
    assert (problem_of(output, IMAGE, kind, provider) is None) == is_right


@pytest.mark.parametrize("kind", ["fp32", "int8-x86", "external"])
@pytest.mark.parametrize(
    ("output", "says"),
    [(IMAGE[:5], "5 values, 1000 are due"), (np.full_like(IMAGE, np.nan), "1000 of its values")],
)
def test_what_is_no_such_image_is_wrong_for_every_kind(kind, output, says):
    assert says in problem_of(output, IMAGE, kind, "cpu")


def test_a_constant_reference_divides_by_nothing():
    flat = np.zeros(4, np.float32)
    assert problem_of(flat, flat, "fp32", "cpu") is None


def test_a_right_output_is_checked_with_its_difference():
    verdict = Checker("fp32", "cpu", IMAGE).check(off_by(1e-5), "a")
    assert (verdict.checked, verdict.problem) == (True, None)
    assert verdict.difference.max_abs_err == pytest.approx(1e-5, rel=0.1)


def test_a_wrong_output_is_told_with_its_difference():
    verdict = Checker("fp32", "cpu", IMAGE).check(-IMAGE, "a")
    assert verdict.problem.startswith("the output is wrong: it is off by")
    assert verdict.difference is not None


def test_without_a_reference_two_launches_must_agree_all_the_same():
    checker = Checker("fp32", "cpu", None)
    assert checker.check(IMAGE, "a").problem is None
    unlike = checker.check(off_by(0.1), "b")
    assert not unlike.checked
    assert "unlike the first launch of this case" in unlike.problem


def test_the_same_bytes_are_judged_once():
    checker = Checker("fp32", "cpu", IMAGE)
    verdict = checker.check(IMAGE, "a")
    assert checker.known("a") is verdict
    assert checker.known("b") is None


def test_this_machine_s_own_output_is_what_its_runtime_computes(tmp_path):
    case = write_case(tmp_path)
    output = host_output(case.artifact.path, case.input, "all", {})
    plain = host_output(case.artifact.path, case.input, "disable", {})
    assert output.shape == (3 * 16 * 16,)
    assert problem_of(output, plain, "fp32", "cpu") is None


def test_a_file_that_this_machine_cannot_run_has_no_reference(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"garbage")
    (tmp_path / "input.f32").write_bytes(b"")
    broken = tmp_path / "broken.onnx"
    assert host_output(broken, tmp_path / "input.f32", "all", {}) is None
