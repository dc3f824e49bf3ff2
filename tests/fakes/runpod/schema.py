"""Checks calls and answers against the vendor's own API document, where that is at hand."""

from __future__ import annotations

import json
import os
import re
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SPECS = Path(
    os.environ.get("RUNPOD_SPECS") or Path(__file__).parents[3].parent / "shared" / "specs"
)
_API = "urn:api"
_CREATE = "urn:create-pod"

# What a body may hold, for the time without the document (August and September 2026).
_FIELDS = {
    "": "name image gpu cpu cloud dataCenterIds disk ports env args registry mounts startSsh "
    "startJupyter globalNetworking templateId",
    "gpu": "id count allowedCudaVersions minCudaVersion minRamPerGpu minVcpuCountPerGpu",
    "cpu": "id vcpuCount",
    "mounts": "persistent network",
}


def unknown_fields(body: dict[str, Any]) -> list[str]:
    """Fields of a POST /v2/pods that the API does not know."""
    found = []
    for part, known in _FIELDS.items():
        inner = body.get(part, {}) if part else body
        if isinstance(inner, dict):
            path = f"{part}." if part else ""
            found += [f"{path}{name}" for name in inner if name not in known.split()]
    return found


class ApiSchema:
    """The API document; everything is fine where it is not there."""

    def __init__(self, specs: Path = SPECS) -> None:
        self._specs = specs
        self._validators: dict[str, Draft202012Validator] = {}

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document; empty where it is missing."""
        path = self._specs / "runpod-openapi-v2.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @cached_property
    def _registry(self) -> Any:
        resources = [(_API, self.document)]
        create = self._specs / "runpod-v2-create-pod-2026-09.schema.json"
        if create.exists():
            resources.append((_CREATE, json.loads(create.read_text())))
        return Registry().with_resources(
            (uri, Resource.from_contents(contents, default_specification=DRAFT202012))
            for uri, contents in resources
        )

    def operation(
        self, method: str, path: str
    ) -> tuple[str, dict[str, Any], dict[str, str]] | None:
        """(path template, operation, path parameters) of a call; None if there is no such call."""
        for template, operations in self.document.get("paths", {}).items():
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
            if (match := re.fullmatch(pattern, path)) and method.lower() in operations:
                return template, operations[method.lower()], match.groupdict()
        return None

    def errors_of_call(self, method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
        """What is wrong with a request; each names its place."""
        if not self.document:
            return []
        if (found := self.operation(method, path)) is None:
            return [f"no such call: {method} {path}"]
        template, operation, _ = found
        errors = self._query_errors(operation, query)
        if "requestBody" in operation:
            errors += self._errors(self._body_reference(method, template), body)
        return errors

    def errors_of_answer(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What is wrong with an answer of ours."""
        if not self.document or (found := self.operation(method, path)) is None:
            return []
        template, operation, _ = found
        responses = operation["responses"]
        key = str(status) if str(status) in responses else "default"
        if status < 400 and key == "default":
            return [f"{method} {template} does not answer {status}"]
        response = responses[key]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        for kind, content in response.get("content", {}).items():
            if "json" in kind:
                return self._errors(f"{_API}{content['schema']['$ref']}", body)
        return [] if body is None else [f"{method} {template} answers {status} without a body"]

    def _body_reference(self, method: str, template: str) -> str:
        if template == "/v2/pods" and _CREATE in self._registry:
            return f"{_CREATE}#/$defs/CreatePodRequest"
        operation = self.document["paths"][template][method.lower()]
        content = operation["requestBody"]["content"]["application/json"]
        return f"{_API}{content['schema']['$ref']}"

    def _query_errors(self, operation: dict[str, Any], query: dict[str, str]) -> list[str]:
        known = {}
        for parameter in operation.get("parameters", []):
            reference = parameter.get("$ref", "")
            if reference:
                parameter = self.document["components"]["parameters"][reference.rpartition("/")[2]]
            if parameter["in"] == "query":
                known[parameter["name"]] = parameter["schema"]
        errors = [f"query {name}: no such parameter" for name in query if name not in known]
        for name, text in query.items():
            if name in known:
                schema = self._resolved(known[name])
                value = _decoded(text, schema)
                validator = Draft202012Validator(self._absolute(schema), registry=self._registry)
                errors += [f"query {name}: {e.message}" for e in validator.iter_errors(value)]
        return errors

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            found = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return dict(found)
        return schema

    def _absolute(self, schema: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(schema).replace('"$ref": "#', f'"$ref": "{_API}#')
        absolute: dict[str, Any] = json.loads(text)
        return absolute

    def _errors(self, reference: str, value: Any) -> list[str]:
        if reference not in self._validators:
            schema = {"$ref": reference}
            self._validators[reference] = Draft202012Validator(schema, registry=self._registry)
        found = self._validators[reference].iter_errors(value)
        return [f"{'.'.join(map(str, e.absolute_path)) or 'body'}: {e.message}" for e in found]


@cache
def read_schema() -> ApiSchema:
    """One for all fakes of a process: reading it takes a while."""
    return ApiSchema()


def _decoded(text: str, schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "array":
        return text.split(",")
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text
