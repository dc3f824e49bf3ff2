"""Deployment as data: how far a version of a model is used, and which status may follow which.

Apart from `shared.model_version`, since what is typed is checked before pydantic is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class DeploymentStatus(StrEnum):
    """How far a version is used, as the web application's tables spell it."""

    STORED = "stored"
    TESTING = "testing"
    PRODUCTION = "production"
    ARCHIVED = "archived"


MOVES: Mapping[DeploymentStatus, frozenset[DeploymentStatus]] = MappingProxyType(
    {
        DeploymentStatus.STORED: frozenset({DeploymentStatus.TESTING, DeploymentStatus.ARCHIVED}),
        DeploymentStatus.TESTING: frozenset(
            {DeploymentStatus.PRODUCTION, DeploymentStatus.STORED, DeploymentStatus.ARCHIVED}
        ),
        DeploymentStatus.PRODUCTION: frozenset({DeploymentStatus.ARCHIVED}),
        # Who wants an archived version back has to test it again.
        DeploymentStatus.ARCHIVED: frozenset({DeploymentStatus.STORED}),
    }
)
"""Which status may follow which; nothing comes into production but what was tested."""
