"""What a good data scientist writes in an hour for a table that is new to them: three kinds of models, the best by
folds.

It was committed before `kiban init` was compared with it on the fifteen tables, and not changed since.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

FOLDS = 5
MOST_LEVELS = 40  # that are one-hot encoded


def with_parts(features: pd.DataFrame) -> pd.DataFrame:
    """The features, with the parts of dates in the place of the dates."""
    result = features.copy()
    for name in features.select_dtypes(include=["object", "string"]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dates = pd.to_datetime(features[name], errors="coerce")
        if dates.notna().mean() < 0.95:
            continue
        result[f"{name} year"], result[f"{name} month"] = dates.dt.year, dates.dt.month
        result[f"{name} weekday"], result[f"{name} day of year"] = dates.dt.weekday, dates.dt.dayofyear
        result = result.drop(columns=name)
    return result


def _pipeline(features: pd.DataFrame, model: BaseEstimator, kind: str) -> Pipeline:
    texts = features.select_dtypes(include=["object", "string", "category", "bool"]).columns
    few = [name for name in texts if features[name].nunique() <= MOST_LEVELS]
    many = [name for name in texts if name not in few and features[name].nunique() < 0.9 * len(features)]
    numbers = [name for name in features.columns if name not in set(texts)]
    return make_pipeline(
        ColumnTransformer(
            [
                ("few", OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False), few),
                ("many", make_pipeline(TargetEncoder(target_type=kind, random_state=0), StandardScaler()), many),
                (
                    "numbers",
                    make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
                    numbers,
                ),
            ]
        ),
        model,
    )


def fitted(features: pd.DataFrame, target: pd.Series, task: str) -> Pipeline:
    """The best of a linear model, a forest and boosted trees, by log loss or squared error on shuffled folds."""
    if task == "regression":
        models = [
            RidgeCV(np.logspace(-2, 4, 13)),
            RandomForestRegressor(300, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=-1),
            HistGradientBoostingRegressor(learning_rate=0.05, max_iter=300, early_stopping=True, random_state=0),
        ]
        folds, scoring, kind = KFold(FOLDS, shuffle=True, random_state=0), "neg_mean_squared_error", "continuous"
    else:
        models = [
            LogisticRegression(max_iter=2000),
            RandomForestClassifier(300, min_samples_leaf=2, random_state=0, n_jobs=-1),
            HistGradientBoostingClassifier(learning_rate=0.05, max_iter=300, early_stopping=True, random_state=0),
        ]
        number = max(2, min(FOLDS, target.value_counts().min()))  # each fold has a row of each class
        folds, scoring = StratifiedKFold(number, shuffle=True, random_state=0), "neg_log_loss"
        kind = "binary" if task == "binary" else "multiclass"
    candidates = [_pipeline(features, model, kind) for model in models]
    scores = [cross_val_score(each, features, target, cv=folds, scoring=scoring).mean() for each in candidates]
    return candidates[int(np.nanargmax(scores))].fit(features, target)
