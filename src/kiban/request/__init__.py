"""Requests to a model: their schema, the reasons for refusing one, and the features of new rows."""
