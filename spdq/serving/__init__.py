"""An index as an HTTP service. Needs the packages of the extra ``serve``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spdq.errors import MissingExtraError

if TYPE_CHECKING:
    from spdq.serving.app import create_app
    from spdq.serving.server import serve
    from spdq.serving.service import Service
    from spdq.serving.settings import Settings

__all__ = ["Service", "Settings", "create_app", "serve"]

_HOMES = {
    "Service": "spdq.serving.service",
    "Settings": "spdq.serving.settings",
    "create_app": "spdq.serving.app",
    "serve": "spdq.serving.server",
}
_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spdq.serving' has no attribute {name!r}")
    for package in _PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f'the HTTP service needs the package {package}: pip install "spdq[serve]"'
            ) from error
    return getattr(import_module(_HOMES[name]), name)
