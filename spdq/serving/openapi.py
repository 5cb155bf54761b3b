"""The description of the API. Bodies are read by our own hand, so that they can be bounded, and described here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from spdq.serving.bodies import JSON, MULTIPART
from spdq.serving.problems import MEDIA_TYPE
from spdq.serving.schemas import Batch, NewItems, Search, UploadSearch

_REF = "#/components/schemas/{model}"
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "one line for people"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_REASONS = {
    400: "malformed, or an unknown host",
    401: "the token is missing or another",
    403: "from a page of another site",
    404: "not there",
    408: "too slow: the body, or the answer",
    409: "there already",
    413: "larger than allowed",
    415: "of another content type",
    422: "not as described, or nothing that can be searched for",
    503: "busy, shutting down, or not ready; Retry-After says when to try again",
    507: "the storage refused",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def body(model: type[BaseModel], with_upload: type[BaseModel] | None = None) -> dict[str, Any]:
    """What a route's body is: JSON or, with a picture, a form of a file and other JSON."""
    content: dict[str, Any] = {JSON: {"schema": _reference(model)}}
    if with_upload is not None:
        is_needed = any(field.is_required() for field in with_upload.model_fields.values())
        form = {
            "type": "object",
            "required": ["image", "json"] if is_needed else ["image"],
            "properties": {
                "image": {"type": "string", "format": "binary"},
                "json": _reference(with_upload),
            },
            "additionalProperties": False,
        }
        content[MULTIPART] = {"schema": form, "encoding": {"json": {"contentType": JSON}}}
    return {"requestBody": {"required": True, "content": content}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def parameters(model: type[BaseModel]) -> dict[str, Any]:
    """What a route's URL may ask for."""
    fields = model.model_json_schema()["properties"]
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": schema["description"],
                "schema": schema["anyOf"][0] if "anyOf" in schema else schema,
            }
            for name, schema in fields.items()
        ]
    }


def bearer() -> dict[str, Any]:
    """What a route that needs the token says."""
    return {"security": [{"token": []}]}


def describe(app: FastAPI) -> None:
    """Let the app's /openapi.json tell of bodies, problems and the token, too."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes, summary=app.summary)
            _, models = models_json_schema(
                [(model, "validation") for model in (Search, UploadSearch, Batch, NewItems)],
                ref_template=_REF,
            )
            components = made.setdefault("components", {})
            components["schemas"] = components.get("schemas", {}) | models["$defs"] | {"Problem": _PROBLEM}
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
