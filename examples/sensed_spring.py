"""A simulated machine for the examples: a mass on a damped spring, with six noisy sensors.

A random force (per unit of mass) f acts on a mass with position x and velocity v ::

    v' = f - 2 zeta omega v - omega^2 x        x' = v        omega = 2 rad/s, zeta = 0.1

sampled ten times per second. The task is to estimate the position and velocity at every step from
the readings of six sensors up to that step. The readings of one step are not enough: the noise must
be averaged over time along the motion, and two slow disturbances must be separated from it.

====  =====================  ===========================================  ===========
axis  sensor                 reads                                        noise (std)
====  =====================  ===========================================  ===========
0     coarse position (m)    x                                            0.5
1     fine position (m)      x + 0.5 u, as it expands with temperature u  0.1
2     velocity (m/s)         v                                            0.5
3     acceleration (m/s^2)   v' + b, its offset b new in every recording  0.3
4     force (N/kg)           f                                            0.2
5     temperature (K)        u, from its mean                             0.3
====  =====================  ===========================================  ===========

It uses only NumPy and a generator of the caller: the same seed gives the same recordings. ::

    python examples/sensed_spring.py drifted.npz

writes 96 recordings of ten seconds by drifted sensors, as ``inputs`` and ``targets``.
"""

import argparse

import numpy as np

OMEGA = 2.0  # rad/s: a period of 3.1 s, 31 samples
ZETA = 0.1  # free motion falls to a tenth in about 12 s
STEP = 0.1  # s between samples
SENSORS = (
    "coarse position",
    "fine position",
    "velocity",
    "acceleration",
    "force",
    "temperature",
)
NOISE = np.array([0.5, 0.1, 0.5, 0.3, 0.2, 0.3])
EXPANSION = 0.5  # m/K, of the fine position sensor


def record(
    generator: np.random.Generator, recordings: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return readings and truth of independent recordings.

    Args:
        generator: the random generator.
        recordings: the number of recordings.
        steps: the number of samples in each, 0.1 s apart.

    Returns:
        readings: ``(recordings, steps, 6)`` float32, in the units of the table above.
        truth: ``(recordings, steps, 2)`` float32, position (m) and velocity (m/s).
    """
    # Correlation times of about one second for forces, ten for temperatures.
    force = _wander(generator, recordings, steps, lasting=1.0) * 2.5
    temperature = _wander(generator, recordings, steps, lasting=10.0)
    offset = generator.normal(size=recordings)
    position, velocity = generator.normal(size=(2, recordings))
    readings = np.empty((recordings, steps, len(SENSORS)))
    truth = np.empty((recordings, steps, 2))
    for t in range(steps):
        acceleration = force[:, t] - 2 * ZETA * OMEGA * velocity - OMEGA**2 * position
        truth[:, t] = np.stack([position, velocity], axis=-1)
        readings[:, t] = np.stack(
            [
                position,
                position + EXPANSION * temperature[:, t],
                velocity,
                acceleration + offset,
                force[:, t],
                temperature[:, t],
            ],
            axis=-1,
        )
        # The position is updated with the new velocity, so that the integration conserves the
        # energy of the spring.
        velocity = velocity + STEP * acceleration
        position = position + STEP * velocity
    readings += NOISE * generator.normal(size=readings.shape)
    return readings.astype(np.float32), truth.astype(np.float32)


def drifted(readings: np.ndarray) -> np.ndarray:
    """Return the readings of the same sensors after a drift.

    The zero of the fine position has moved by 0.5 m, and the gains of velocity and acceleration
    have dropped to 0.6 and 0.5. A net trained on the original sensors must be fine-tuned.

    Args:
        readings: ``(..., 6)``, not modified.

    Returns:
        The drifted readings, ``(..., 6)``, in the same type.
    """
    gain = np.array([1, 1, 0.6, 0.5, 1, 1], readings.dtype)
    offset = np.array([0, 0.5, 0, 0, 0, 0], readings.dtype)
    return gain * readings + offset


def _wander(
    generator: np.random.Generator, recordings: int, steps: int, lasting: float
) -> np.ndarray:
    """Return random paths of mean 0 and deviation 1 with a correlation time of ``lasting`` s."""
    keep = np.exp(-STEP / lasting)
    path = np.empty((recordings, steps))
    path[:, 0] = generator.normal(size=recordings)
    for t in range(1, steps):
        path[:, t] = keep * path[:, t - 1] + np.sqrt(1 - keep**2) * generator.normal(
            size=recordings
        )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Recordings of drifted sensors.")
    parser.add_argument("file", help="the .npz to write")
    readings, truth = record(np.random.default_rng(0), 96, 100)
    np.savez(parser.parse_args().file, inputs=drifted(readings), targets=truth)


if __name__ == "__main__":
    main()
