"""The model of a published article, "Preprocess your data with recipes" (tidymodels.org/start/recipes), on our data.

The article predicts arr_delay >= 30 by a logistic regression after a random split of 3/4, from facts that are known
only after departure (dep_time, air_time), and reports a ROC AUC of 0.764. The comparison checks our raw data and joins;
the article's ROC AUC is not a target for our model.
"""

import argparse
import statistics
from pathlib import Path

import duckdb
import pandas as pd
from pandas.tseries.holiday import USFederalHolidayCalendar
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

RAW = Path("data/raw/flights")
PUBLISHED_AUC = 0.764
PUBLISHED_ROWS = 325_819
TOLERANCE = 0.005
SEEDS = range(5)
QUERY = """
    SELECT dep_time, air_time, distance, flight, origin, dest, carrier, time_hour::DATE AS date, arr_delay >= 30 AS late
    FROM read_parquet(?) JOIN (SELECT origin, time_hour FROM read_parquet(?)) USING (origin, time_hour)
    WHERE dep_time IS NOT NULL AND air_time IS NOT NULL AND arr_delay IS NOT NULL
    ORDER BY time_hour, carrier, flight
"""


def article_rows() -> pd.DataFrame:
    """The article's rows and predictors. Its predictors do not include the flight number and the date itself."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")  # as.Date takes the day in UTC
    rows = engine.execute(QUERY, [str(RAW / "flights/*.parquet"), str(RAW / "weather/*.parquet")]).df()
    date = pd.to_datetime(rows.pop("date"))
    holidays = USFederalHolidayCalendar().holidays("2013-01-01", "2014-01-01")
    return rows.assign(weekday=date.dt.day_name(), month=date.dt.month_name(), holiday=date.isin(holidays).astype(int))


def auc(rows: pd.DataFrame, seed: int) -> float:
    """The ROC AUC on the quarter of the rows that is held out."""
    train, test = train_test_split(rows, test_size=0.25, random_state=seed)
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["origin", "dest", "carrier", "weekday", "month"]),
            (StandardScaler(), ["dep_time", "air_time", "distance", "holiday"]),
        ),
        LogisticRegression(C=1e6, max_iter=1000),  # almost without a penalty: the article's model has none
    )
    model.fit(train, train.late)
    return float(roc_auc_score(test.late, model.predict_proba(test)[:, 1]))


def main() -> None:
    rows = article_rows()
    values = [auc(rows, seed) for seed in track(SEEDS, description="seeds", transient=True)]
    table = Table(title="tidymodels.org, start/recipes: logistic regression, random split", title_justify="left")
    for name in ("", "rows", "late", *(f"seed {seed}" for seed in SEEDS), "mean"):
        table.add_column(name, justify="right")
    mean = statistics.mean(values)
    ours = [f"{len(rows):,}", f"{rows.late.mean():.3f}", *(f"{value:.4f}" for value in values), f"{mean:.4f}"]
    table.add_row("here", *ours)
    table.add_row("published", f"{PUBLISHED_ROWS:,}", "0.161", *("" for _ in SEEDS), f"{PUBLISHED_AUC}")
    Console(width=100).print(table)
    print(f"difference {mean - PUBLISHED_AUC:+.4f}, within {TOLERANCE}: {abs(mean - PUBLISHED_AUC) <= TOLERANCE}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help
    main()
