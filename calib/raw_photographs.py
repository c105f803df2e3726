"""The bundled photographs as noisy Bayer mosaics, beside their noiseless selves."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from calib.photographs import HELD_OUT, TRAINING, demo_versions, load_photograph, write_pairs
from calib.raw import Sensor, add_sensor_noise, mosaic_of_photograph

RAW_DEMO_DATA_SCHEMA = 2  # raise it when the mosaics change. 2: training at every ISO
DEMO_ISOS = (800.0, 1600.0, 3200.0, 6400.0)


def noisy_pair(
    name: str, iso: float, seed: int, pattern: str, sensor: Sensor
) -> tuple[np.ndarray, np.ndarray]:
    """Give (noisy, noiseless) mosaics of one photograph, (H, W) float32; same seed, same pair."""
    noiseless = mosaic_of_photograph(load_photograph(name), pattern)
    rng = np.random.default_rng([seed, zlib.crc32(f"{name} {iso:g}".encode())])
    return add_sensor_noise(noiseless, iso, sensor, rng), noiseless


def write_raw_demo_data(
    folder: Path,
    pattern: str,
    sensor: Sensor,
    *,
    isos: Sequence[float] = DEMO_ISOS,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the mosaics as 16-bit PNG pairs, unless they are there already; give the folder.

    Laid out as `write_demo_data` does; each file's name says its ISO. Every photograph is there at
    each ISO: what 8 bits cost differs more between ISOs than between scenes, so a recipe that is
    chosen without one of them is wrong there.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """
    training, held_out = (
        [(name, iso) for name in names for iso in isos] for names in (TRAINING, HELD_OUT)
    )
    files = {f"{name}.iso{iso:g}": (name, iso) for name, iso in (*training, *held_out)}
    record = {
        "schema": RAW_DEMO_DATA_SCHEMA,
        "seed": seed,
        "pattern": pattern,
        "sensor": asdict(sensor),
        "versions": demo_versions(),
        "photographs": {
            part: [f"{name}.iso{iso:g}" for name, iso in members]
            for part, members in (("training", training), ("held-out", held_out))
        },
    }
    return write_pairs(
        folder,
        record,
        lambda file: noisy_pair(*files[file], seed, pattern, sensor),
        np.uint16,
        on_progress,
    )
