"""Statistics made by hand, and what it means that two are the same."""

from dataclasses import replace

import numpy as np

from calib.statistics import EVERY_VALUE, Origin, Sampling, Statistics, tensor_statistics

ORIGIN = Origin("m", "c", Sampling(), 256, 1 << 30, "1.31", "2.4", "x86_64")


def statistics_of(crops, names=("a", "b"), **origin):
    """Give statistics by hand: of each crop one array a tensor."""
    per_crop = [[tensor_statistics(one, EVERY_VALUE, 256) for one in crop] for crop in crops]
    whole = per_crop[0]
    for crop in per_crop[1:]:
        whole = [old.merged(new) for old, new in zip(whole, crop, strict=True)]
    return Statistics(
        dict(zip(names, whole, strict=True)),
        np.array([[one.least for one in crop] for crop in per_crop], np.float32),
        np.array([[one.greatest for one in crop] for crop in per_crop], np.float32),
        np.array([[crop[0].min(), crop[0].mean(), crop[0].max()] for crop in crops]),
        replace(ORIGIN, **origin),
    )


def same(one, other):
    """Whether two sets of statistics say the same, but for whose crops they are of."""
    assert list(one.tensors) == list(other.tensors)
    for name, ours in one.tensors.items():
        theirs = other.tensors[name]
        np.testing.assert_array_equal(ours.channel_least, theirs.channel_least)
        np.testing.assert_array_equal(ours.channel_greatest, theirs.channel_greatest)
        np.testing.assert_array_equal(ours.histogram.edges, theirs.histogram.edges)
        np.testing.assert_array_equal(ours.histogram.counts, theirs.histogram.counts)
    for name in ("crop_least", "crop_greatest", "crop_input"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    return True
