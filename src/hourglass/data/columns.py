"""Tables of mixed columns as rows of numbers."""

from __future__ import annotations

from typing import Any

from hourglass.errors import ParameterError

_CATEGORIES = ["object", "category", "bool", "string"]


def table_encoder(missing: str = "refuse") -> Any:
    """A scikit-learn transformer of DataFrames with numbers, booleans and categories, to stand before an estimator.

    Numbers pass as they are; estimators scale columns themselves. Every value of another column has an indicator column of its
    own, also a missing one; values that `fit` has not seen are 0 in all of them.

    Parameters
    ----------
    missing : {"refuse", "indicate"}
        Missing numbers: "refuse" leaves them, so that the estimator raises; "indicate" replaces them by the median of their
        column and adds an indicator column, 1 where one was missing, for columns with missing values in `fit`.

    Returns
    -------
    sklearn.compose.ColumnTransformer
        From DataFrame (n, columns) to float64 (n, features).

    Raises
    ------
    ParameterError
        For another `missing`.

    Examples
    --------
    >>> import hourglass as hg, pandas as pd
    >>> table = pd.DataFrame({"size": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"], "new": [True, False, True]})
    >>> hg.table_encoder().fit_transform(table).shape
    (3, 5)
    """
    from sklearn.compose import ColumnTransformer, make_column_selector
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    if missing not in ("refuse", "indicate"):
        raise ParameterError(f'missing={missing!r}; allowed: "refuse", "indicate".')
    numbers = "passthrough" if missing == "refuse" else SimpleImputer(strategy="median", add_indicator=True)
    indicators = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("categories", indicators, make_column_selector(dtype_include=_CATEGORIES)),
        ],
        sparse_threshold=0,
    )
