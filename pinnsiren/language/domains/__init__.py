"""Shapes: one file each, all behind `AbstractDomain`; set operations combine them."""

from pinnsiren.language.domains.ball import Ball, Disk
from pinnsiren.language.domains.base import AbstractDomain, Boundary
from pinnsiren.language.domains.box import Box, Interval
from pinnsiren.language.domains.point_cloud import PointCloud
from pinnsiren.language.domains.polygon import Polygon
from pinnsiren.language.domains.shape import AbstractSetOperation, AbstractShape, Difference, Intersection, Union
from pinnsiren.language.domains.space_time import SpaceTime
from pinnsiren.language.domains.triangle_mesh import TriangleMesh

__all__ = [
    "AbstractDomain", "AbstractSetOperation", "AbstractShape", "Ball", "Boundary", "Box", "Difference", "Disk", "Intersection", "Interval",
    "PointCloud", "Polygon", "SpaceTime", "TriangleMesh", "Union",
]  # fmt: skip
