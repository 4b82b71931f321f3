"""What may be asked of a model: the request's schema, why a request is refused, and the features of new rows."""
