"""Which cores a launch may use: a wish and the cores' speeds -> a mask. Pure."""

from collections.abc import Sequence

from deploy.errors import DeviceError, UsageError

PRESETS = ("big", "all", "little")


def check_wish(wish: str | None) -> None:
    """Refuse what is neither a preset nor a mask.

    Raises:
        UsageError: so it is.
    """
    if wish is None or wish in PRESETS:
        return
    try:
        mask = int(wish, 16)
    except ValueError:
        mask = 0
    if mask <= 0:
        raise UsageError(
            f"cores {wish!r} is neither {', '.join(PRESETS)} nor a hexadecimal mask",
            "pass such a one, as in --cores f0",
        )


def core_mask(
    wish: str | None, max_freq_khz: Sequence[int | None], n_cores: int, threads: int
) -> str | None:
    """Give the hexadecimal mask of the cores that are asked for; None asks for none in particular.

    `big` is all cores but the slowest kind, `little` the slowest kind. Where the fast ones are
    fewer than the threads, big is all: threads that take turns on one core measure the turns.

    Args:
        wish: one of `PRESETS`, a hexadecimal mask, or None.
        max_freq_khz: greatest frequency of each core, in their order; None where it is unknown.
        n_cores: how many cores there are.

    Raises:
        UsageError: the mask names cores that are not there, or fewer than the threads.
        DeviceError: the kinds of cores cannot be told.
    """
    check_wish(wish)
    if wish is None:
        return None
    if wish == "all":
        return _hex((1 << n_cores) - 1)
    if wish not in PRESETS:
        return _checked(int(wish, 16), n_cores, threads)
    if len(max_freq_khz) != n_cores or None in max_freq_khz:
        raise DeviceError(
            f"the speeds of the {n_cores} cores cannot be read, so {wish} ones cannot be told",
            "pass --cores all, or a hexadecimal mask",
        )
    slowest = min(one for one in max_freq_khz if one is not None)
    little = sum(1 << core for core, khz in enumerate(max_freq_khz) if khz == slowest)
    every = (1 << n_cores) - 1
    if wish == "little" or little == every:
        return _checked(little, n_cores, threads)
    big = every & ~little
    return _hex(big if big.bit_count() >= threads else every)


def _checked(mask: int, n_cores: int, threads: int) -> str:
    if mask >> n_cores:
        raise UsageError(
            f"cores {mask:x} are not all there: the device has {n_cores}",
            f"pass a mask of at most {(1 << n_cores) - 1:x}",
        )
    if mask.bit_count() < threads:
        raise UsageError(
            f"{threads} threads on the {mask.bit_count()} cores of {mask:x}",
            "lower --threads, or pass more --cores",
        )
    return _hex(mask)


def _hex(mask: int) -> str:
    return f"{mask:x}"
