"""Shapes: one file each, all behind `AbstractDomain`."""

from pinnsiren.language.domains.ball import Ball, Disk
from pinnsiren.language.domains.base import AbstractDomain
from pinnsiren.language.domains.box import Box, Interval
from pinnsiren.language.domains.space_time import SpaceTime

__all__ = ["AbstractDomain", "Ball", "Box", "Disk", "Interval", "SpaceTime"]
