"""Locations: where a condition holds, from what the user wrote to regions of the domain.

Input: `on=` (the boundary, parts, the boundary of a shape, a domain, a point) and a domain. Output: `Region` records, checked against the domain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains import AbstractDomain, Boundary, PointCloud, SpaceTime
from pinnsiren.language.entries import number_entry

Location = Any  # "boundary", a part name, hole.boundary, a tuple of these, a domain, or a point {x: 0.6, z: 0.9}
ON_BOUNDARY = 1e-9  # relative to the size of the domain: rounding of positions read from files
N_SUBDOMAIN_PROBES = 64


@dataclass(frozen=True)
class Region:
    """Where a residual lives.

    Attributes:
        kind: `"part"` (a boundary part), `"pair"` (two opposite faces, on which the residual is the difference of an expression), `"domain"` (the
            interior of a domain) or `"points"`.
        part: (for kind `"cloud"`, oriented points, None) name of the boundary part, for a pair that of the lower face.
        opposite: for a pair, name of the upper face.
        domain: the domain whose interior is meant.
        points: (n_points, n_coordinates) or (n_shots, n_points, n_coordinates), physical units.
        cloud: the oriented points of which samples are drawn.
    """

    kind: str
    part: str | None = None
    opposite: str | None = None
    domain: AbstractDomain | None = None
    points: NDArray[np.float64] | None = dataclass_field(default=None, compare=False)
    cloud: PointCloud | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the boundary parts that the region covers."""
        return tuple(part for part in (self.part, self.opposite) if part is not None)


def space_of(domain: AbstractDomain) -> AbstractDomain:
    """Return the spatial domain of a product of space and time, else the domain itself."""
    return domain.space if isinstance(domain, SpaceTime) else domain


def parts_of(on: Location, domain: AbstractDomain) -> tuple[str, ...]:
    """Return the names of the boundary parts that a location names; `"boundary"` is the boundary of the space at all times."""
    if isinstance(on, str):
        return space_of(domain).boundary_parts() if on == "boundary" else (on,)
    if isinstance(on, Boundary):
        return space_of(domain).parts_of_boundary(space_of(on.of))
    if isinstance(on, tuple) and all(isinstance(part, (str, Boundary)) for part in on):
        return tuple(dict.fromkeys(name for part in on for name in parts_of(part, domain)))
    return ()


def regions_of(on: Location, domain: AbstractDomain) -> tuple[Region, ...]:
    """Translate a location into regions.

    Raises:
        ProblemError: a location of unknown form, or a point that misses a coordinate.
        UnknownNameError: a boundary part that the domain does not have.
    """
    parts = parts_of(on, domain)
    if parts:
        for part in parts:
            domain.check_part(part)
        return tuple(Region("part", part=part) for part in parts)
    if isinstance(on, AbstractDomain):
        _check_subdomain(on, domain)
        return (Region("domain", domain=on),)
    if isinstance(on, PointCloud):
        if on.coordinates != domain.coordinates:
            raise ProblemError(f"on={on} has other coordinates than the domain {domain}; expected {domain.coordinates}")
        outside = int(np.sum(~domain.contains(on.points, ON_BOUNDARY)))
        if outside:
            raise ProblemError(f"{outside} points of on={on} lie outside the domain {domain}; scale or move the cloud, or enlarge the domain")
        return (Region("cloud", cloud=on),)
    if isinstance(on, Mapping):
        return (Region("points", points=_checked_point(on, domain)),)
    raise ProblemError(
        f"on={on!r} is no location; expected \"boundary\", a part such as \"x-\", hole.boundary, a tuple of parts, a domain or a point {{x: 0.6}}"
    )


def _checked_point(on: Mapping[Any, Any], domain: AbstractDomain) -> NDArray[np.float64]:
    missing = [str(symbol) for symbol in domain.coordinates if symbol not in on]
    if missing:
        raise ProblemError(f"the point {on} misses the coordinates {', '.join(missing)}; give a value for each")
    strangers = [str(symbol) for symbol in on if symbol not in domain.coordinates]
    if strangers:
        raise ProblemError(f"the point {on} names {', '.join(strangers)}; the domain has the coordinates {domain.coordinates}")
    point = np.array([[number_entry(f"the point {on}", on[symbol]) for symbol in domain.coordinates]])
    if not domain.contains(point, ON_BOUNDARY)[0]:
        raise ProblemError(f"the point {on} lies outside the domain {domain}; move it inside")
    return point


def _check_subdomain(on: AbstractDomain, domain: AbstractDomain) -> None:
    if on.coordinates != domain.coordinates:
        remedy = f"; for all times write SpaceTime({on}, ...)" if isinstance(domain, SpaceTime) and on.coordinates == domain.space.coordinates else ""
        raise ProblemError(f"on={on} has the coordinates {on.coordinates}; the domain has {domain.coordinates}: expected the same{remedy}")
    outside = ~domain.contains(on.sample_interior(N_SUBDOMAIN_PROBES, seed=1), ON_BOUNDARY)
    if np.any(outside):
        raise ProblemError(f"on={on} reaches outside the domain {domain}; expected a part of the domain: shrink or move it")


def sample_pair(region: Region, domain: AbstractDomain, n_points: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw points on the lower face of a pair and return them with their opposites on the upper face, each (n_points, n_coordinates)."""
    assert region.part is not None and region.opposite is not None
    here, _ = domain.sample_boundary(region.part, n_points, seed)
    symbol = next(symbol for symbol in domain.coordinates if region.part == f"{symbol}-")
    there = here.copy()
    there[:, domain.coordinates.index(symbol)] = domain.bounds[symbol][1]
    return here, there
