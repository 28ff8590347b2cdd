"""The one place where metres, seconds, Hz and m/s become the units of a declaration, and back.

    x' = x / L,   t' = t c / L,   f' = f L / c,   v' = v / c,   k' = 2 pi f',   m' = (c / v)^2

With L and c the unit of length and of speed, `Lap u + w^2 u / v^2 = f` in metres is `Lap' u + k'^2 m' u = L^2 f` in the new units: an equation whose
numbers are neither large nor small. A source of unit integral keeps it.

Input: a length and a speed. Output: `Scaling`, which prints what it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ProblemError

Array = NDArray[Any]


@dataclass(frozen=True)
class Scaling:
    """Units of a declaration.

    Attributes:
        length: metres per unit of length.
        speed: metres per second per unit of speed.

    Raises:
        ProblemError: a unit that is not positive.

    >>> units = Scaling.fitting(length=8000, speed=1500)
    >>> print(units)
    1 unit of length = 8192 m, of speed = 2048 m/s, of time = 4 s, of frequency = 0.25 Hz; powers of two: the way back is exact to the last bit
    >>> float(units.wavenumbers(2.5))
    62.83185307179586
    >>> float(units.metres(units.lengths(67.1))) == 67.1
    True
    """

    length: float
    speed: float

    def __post_init__(self) -> None:
        for name in ("length", "speed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not 0 < float(value) < math.inf:
                raise ProblemError(f"Scaling was given {name}={value!r}; expected a positive number of {'metres' if name == 'length' else 'm/s'}")
            object.__setattr__(self, name, float(value))

    @classmethod
    def fitting(cls, *, length: float, speed: float) -> Scaling:
        """Units near a length (m) and a speed (m/s) that occur: powers of two, by which numbers are divided without rounding."""
        chosen = cls(length, speed)
        return cls(2.0 ** round(math.log2(chosen.length)), 2.0 ** round(math.log2(chosen.speed)))

    @property
    def time(self) -> float:
        """Seconds per unit of time."""
        return self.length / self.speed

    @property
    def is_exact(self) -> bool:
        """Whether both units are powers of two."""
        return all(math.frexp(unit)[0] == 0.5 for unit in (self.length, self.speed))

    def lengths(self, metres: ArrayLike) -> Array:
        """Metres in units of length."""
        return np.asarray(metres, dtype=float) / self.length

    def metres(self, lengths: ArrayLike) -> Array:
        """Back to metres."""
        return np.asarray(lengths, dtype=float) * self.length

    def times(self, seconds: ArrayLike) -> Array:
        """Seconds in units of time."""
        return np.asarray(seconds, dtype=float) / self.time

    def seconds(self, times: ArrayLike) -> Array:
        """Back to seconds."""
        return np.asarray(times, dtype=float) * self.time

    def frequencies(self, hertz: ArrayLike) -> Array:
        """Hz in cycles per unit of time."""
        return np.asarray(hertz, dtype=float) * self.time

    def hertz(self, frequencies: ArrayLike) -> Array:
        """Back to Hz, from cycles per unit of time."""
        return np.asarray(frequencies, dtype=float) / self.time

    def wavenumbers(self, hertz: ArrayLike) -> Array:
        """Angular frequency 2 pi f in the new unit of time: the wavenumber where the speed is one unit."""
        return 2 * np.pi * self.frequencies(hertz)

    def speeds(self, metres_per_second: ArrayLike) -> Array:
        """Speeds in m/s in units of speed."""
        return np.asarray(metres_per_second, dtype=float) / self.speed

    def metres_per_second(self, speeds: ArrayLike) -> Array:
        """Back to m/s."""
        return np.asarray(speeds, dtype=float) * self.speed

    def squared_slowness(self, metres_per_second: ArrayLike) -> Array:
        """m' = (c / v)^2 of speeds in m/s."""
        speeds = self.speeds(metres_per_second)
        if not np.all(speeds > 0):
            raise ProblemError(f"squared slownesses of speeds from {np.min(metres_per_second):g} m/s were asked for; expected positive speeds")
        return np.asarray(speeds**-2.0)

    def speeds_of(self, squared_slowness: ArrayLike) -> Array:
        """Speeds in m/s of squared slownesses m'."""
        return np.asarray(self.metres_per_second(np.asarray(squared_slowness, dtype=float) ** -0.5))

    def summary(self, *, metres: ArrayLike = (), hertz: ArrayLike = (), metres_per_second: ArrayLike = ()) -> str:
        """Return in lines what becomes of some lengths, frequencies and speeds, and how many wavelengths that makes."""
        lines = [str(self)]
        x, f, v = (np.asarray(given, dtype=float).ravel() for given in (metres, hertz, metres_per_second))
        if x.size:
            lines.append(f"lengths {_range(x)} m -> {_range(self.lengths(x))}")
        if f.size:
            lines.append(f"frequencies {_range(f)} Hz -> k = {_range(self.wavenumbers(f))}")
        if v.size:
            lines.append(f"speeds {_range(v)} m/s -> {_range(self.speeds(v))}, squared slowness {_range(self.squared_slowness(v))}")
        if x.size and f.size and v.size and np.ptp(x) > 0:
            lines.append(f"{np.ptp(x) * f.min() / v.max():.3g} to {np.ptp(x) * f.max() / v.min():.3g} wavelengths across")
        return "\n".join(lines)

    def __str__(self) -> str:
        exact = "; powers of two: the way back is exact to the last bit" if self.is_exact else ""
        return (
            f"1 unit of length = {self.length:g} m, of speed = {self.speed:g} m/s, of time = {self.time:g} s, of frequency = {1 / self.time:g} "
            f"Hz{exact}"
        )


def _range(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.5g}" if low == high else f"{low:.5g} to {high:.5g}"
