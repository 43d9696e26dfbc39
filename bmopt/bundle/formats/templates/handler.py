"""TorchServe's handler of a model that bmopt compiled: ONNX Runtime and NumPy, no torch.

A request is an image, a ``.npy`` file, or JSON: the input's values as nested lists, or an object
``{"INPUT": values, ...}``. A model of several inputs also takes one form field per input. Values
are those of one sample, or of several along the first axis. The answer is
``{"outputs": {"NAME": values, ...}, "top": [[{"label", "index", "value"}, ...]]}``, ``top`` only
where the labels are known.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from bmopt_pixels import from_image
from bmopt_session import Model

_BODY_FIELDS = ("data", "body")


class BmoptHandler:
    """Answers the requests of a batch with one inference where their shapes allow it."""

    def initialize(self, context: Any) -> None:  # noqa: ANN401 - TorchServe's context
        """Open the model; ``handler: {threads: N}`` in model-config.yaml sets its threads."""
        config = getattr(context, "model_yaml_config", None) or {}
        threads = (config.get("handler") or {}).get("threads", 0)
        self._model = Model(context.system_properties["model_dir"], threads=int(threads))

    def handle(self, data: Any, context: Any) -> list[Any]:  # noqa: ANN401
        """Return one answer per request; one that cannot be read does not stop the others."""
        answers: list[Any] = [None] * len(data)
        feeds: dict[int, dict[str, Any]] = {}
        for index, request in enumerate(data):
            read = self._read(request)
            if isinstance(read, str):
                context.set_response_status(400, "Bad Request", index)
                answers[index] = {"error": read}
            else:
                feeds[index] = read
        for group in _groups(feeds, self._model.batches):
            for index, outputs in self._answers(group, feeds):
                answers[index] = self._answer(outputs)
        return answers

    def _read(self, request: dict[str, Any]) -> dict[str, Any] | str:
        """Return the feeds, or what is wrong with the request."""
        try:
            return self._feeds(request)
        except ValueError as error:
            return str(error)

    def _feeds(self, request: dict[str, Any]) -> dict[str, Any]:
        values = {key: request[key] for key in self._model.inputs if key in request}
        body = next((request[key] for key in _BODY_FIELDS if key in request), None)
        if not values and body is not None:
            values = self._from_body(body)
        feeds = {key: self._model.feed(key, self._value(key, v)) for key, v in values.items()}
        missing = [name for name in self._model.inputs if name not in feeds]
        if missing:
            raise ValueError(f"input {missing[0]!r} is missing")
        return feeds

    def _from_body(self, body: Any) -> dict[str, Any]:  # noqa: ANN401
        if isinstance(body, dict):
            return body
        if isinstance(body, (bytes, bytearray, str)) and body[:1] in (b"{", "{"):
            return dict(_json(body))
        if len(self._model.inputs) > 1:
            names = ", ".join(self._model.inputs)
            raise ValueError(f"several inputs: send an object or a form field for each of {names}")
        return {next(iter(self._model.inputs)): body}

    def _value(self, name: str, value: Any) -> Any:  # noqa: ANN401
        """Return numbers for what came in: decoded where they are bytes."""
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, (bytes, bytearray)):
            return value
        if value[:6] == b"\x93NUMPY":
            return np.load(io.BytesIO(value), allow_pickle=False)
        if value[:1] and value[:1] in b"[-0123456789tf ":
            return _json(value)
        options = self._model.facts["preprocess"]
        if options is None or options["input"] != name:
            raise ValueError(f"input {name!r} takes numbers: send JSON or a .npy file")
        return from_image(bytes(value), options, self._model.inputs[name])

    def _answers(self, group: list[int], feeds: dict[int, dict[str, Any]]) -> Any:  # noqa: ANN401
        if len(group) == 1:
            return [(group[0], self._model.run(feeds[group[0]]))]
        first = next(iter(self._model.inputs))
        ends = np.cumsum([len(feeds[index][first]) for index in group])[:-1]
        joined = {
            name: np.concatenate([feeds[index][name] for index in group])
            for name in self._model.inputs
        }
        parts = {name: np.split(value, ends) for name, value in self._model.run(joined).items()}
        return [(index, {n: p[k] for n, p in parts.items()}) for k, index in enumerate(group)]

    def _answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"outputs": {n: value.tolist() for n, value in outputs.items()}}
        top = self._model.top(outputs)
        if top:
            answer["top"] = top
        return answer


def _groups(feeds: dict[int, dict[str, Any]], is_batched: bool) -> list[list[int]]:
    """Return the requests that can be run together."""
    groups: dict[Any, list[int]] = {}
    for index, feed in feeds.items():
        sizes = {len(array) for array in feed.values()} if is_batched else set()
        shapes = tuple(array.shape[1:] for array in feed.values()) if is_batched else ()
        groups.setdefault(shapes if len(sizes) == 1 else index, []).append(index)
    return list(groups.values())


def _json(body: Any) -> Any:  # noqa: ANN401
    try:
        return json.loads(body)
    except ValueError as error:
        raise ValueError(f"is neither an image, .npy nor JSON ({error})") from error
