"""MLflow's loader of a model that bmopt compiled: ONNX Runtime and NumPy."""

from __future__ import annotations

from typing import Any

from bmopt_session import Model


class BmoptModel:
    """Predicts arrays by output name from arrays by input name."""

    def __init__(self, folder: str) -> None:
        self._model = Model(folder)

    def predict(self, model_input: Any, params: Any = None) -> dict[str, Any]:  # noqa: ANN401
        """Return output name -> array.

        Args:
            model_input: Input name -> array; or the array of the only input.
            params: MLflow passes it; there are none.

        Raises:
            ValueError: What is given does not fit the model.
        """
        names = list(self._model.inputs)
        if not isinstance(model_input, dict):
            if len(names) > 1:
                raise ValueError(f"several inputs: give a dict with {', '.join(names)}")
            model_input = {names[0]: model_input}
        feeds = {name: self._model.feed(name, value) for name, value in model_input.items()}
        outputs: dict[str, Any] = self._model.run(feeds)
        return outputs


def _load_pyfunc(data_path: str) -> BmoptModel:
    return BmoptModel(data_path)
