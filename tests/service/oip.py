"""What tests of the Open Inference Protocol share."""

from __future__ import annotations

import json
from typing import Any

from fastapi.testclient import TestClient

V2 = "/v2/models/m"
ROWS = [[1.0, 2.0, 3.0], [-1.0, 0.0, 5.0]]


def tensor(data: Any = ROWS, shape: list[int] | None = None, datatype: str = "FP32", **others: Any) -> dict[str, Any]:
    return {"name": "x", "shape": shape or [2, 3], "datatype": datatype, "data": data} | others


def binary_tensor(data: bytes, shape: list[int], datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    """Its data has to follow the JSON."""
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}


def infer(http: TestClient, *tensors: dict[str, Any], path: str = V2, **fields: Any) -> Any:
    return http.post(f"{path}/infer", json={"inputs": list(tensors)} | fields)


def infer_binary(http: TestClient, *parts: tuple[dict[str, Any], bytes], path: str = V2, **fields: Any) -> Any:
    head = json.dumps({"inputs": [described for described, _ in parts]} | fields).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return http.post(f"{path}/infer", content=head + b"".join(data for _, data in parts), headers=headers)


def refused(answer: Any, status: int, kind: str) -> list[tuple[str, Any]]:
    """Checks that clients of the protocol can read the error, and returns its (field, value) pairs."""
    body = answer.json()
    assert (answer.status_code, body["status"], body["type"]) == (status, status, f"urn:amstream:problem:{kind}"), body
    assert body["error"] == body["detail"]
    assert body["error"]
    return [(error["field"], error["value"]) for error in body.get("errors", [])]
