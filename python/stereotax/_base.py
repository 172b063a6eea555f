"""What estimators and results have in common."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np


class Estimator:
    """Settings given to `__init__` under their own names, as scikit-learn expects them.

    `sklearn.base.clone`, `get_params`, `set_params`, pipelines, `cross_val_predict` and grid search work;
    scikit-learn is not needed.
    """

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls).parameters]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name. `deep` is for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Estimator:
        """Change settings by name; what was fitted stays until `fit` is called again."""
        for name, value in params.items():
            if name not in self._names():
                raise ValueError(
                    f"{type(self).__name__} has no setting `{name}`\nhint: it has {', '.join(self._names())}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        changed = [f"{k}={v!r}" for k, v in self.get_params().items() if not _same(v, defaults[k])]
        return f"{type(self).__name__}({', '.join(changed)})"

    #: What scikit-learn is told that this is: "regressor", "transformer", or neither.
    _kind: str | None = None

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks for; it is there if this is called."""
        from sklearn.utils import RegressorTags, Tags, TargetTags, TransformerTags

        regressor = self._kind == "regressor"
        return Tags(
            estimator_type="regressor" if regressor else None,
            target_tags=TargetTags(required=regressor, multi_output=regressor),
            regressor_tags=RegressorTags() if regressor else None,
            transformer_tags=TransformerTags() if self._kind == "transformer" else None,
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Asked only for what is not there; results of `fit` end in an underscore.
            if name.endswith("_") and not name.startswith("_"):
                raise AttributeError(
                    f"this {type(self).__name__} has no `{name}`: it is not fitted yet\nhint: call fit first"
                )
            raise AttributeError(f"{type(self).__name__} has no attribute `{name}`")

    def _fitted(self, name: str) -> Any:
        if not hasattr(self, name):
            raise ValueError(f"this {type(self).__name__} is not fitted yet\nhint: call fit first")
        return getattr(self, name)


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and bool(np.all(a == b)))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Result:
    """Named values that belong together."""

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values and lists; undefined numbers stay NaN."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                lines.append(f"  {field.name:<18} {brief(value)}")
        return "\n".join(lines)


def plain(value: Any) -> Any:
    """The value without arrays and results in it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Result) or hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def brief(value: Any) -> str:
    """One line for a value in a repr."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.ndarray | dict):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {brief(item)}" for key, item in value.items()) + "}"
    if isinstance(value, np.ndarray):
        if value.size > 8:
            return f"array of shape {value.shape}"
        return np.array2string(value, precision=4, separator=", ")
    return f"{value:.6g}"
