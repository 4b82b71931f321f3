"""Features: how the prepared table is computed from the raw tables.

`dataset.features` names the file; columns.py takes the columns of a table as they are. Each file defines

- `ROWS_OF`, the name of the raw table with one row for each prepared row, or None if there is one table only,
- `LOOKBACK_DAYS`, the number of days before a batch whose rows its features need,
- `features(tables: Mapping[str, ibis.Table]) -> ibis.Table`, which gives the prepared columns of all rows.
"""
