"""Raw tables to the prepared table: `dataset.features` names the file, columns.py where none is needed.

Each has `ROWS_OF`, the raw table of whose rows each prepared row is one (None where there is one table only),
`LOOKBACK_DAYS`, the days before a batch that its features look back on, and
`features(tables: Mapping[str, ibis.Table]) -> ibis.Table`, the prepared columns of all rows that it is given.
"""
