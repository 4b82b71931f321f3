"""A model in a notebook: it answers about the rows of a frame as the service does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError, one_line
from kiban.data.contract import Column
from kiban.score.read import Input, Piece
from kiban.score.score import PREFIX, output_schema, scored
from kiban.servable.load import Servable

if TYPE_CHECKING:
    import pandas as pd

WHERE = "the frame"


@dataclass(frozen=True)
class Model:
    """A model by its id."""

    servable: Servable

    @property
    def id(self) -> str:
        return self.servable.model_id

    @property
    def parameters(self) -> dict[str, Any]:
        """The sections of params.yaml that it was trained with."""
        return self.servable.manifest.parameters

    def __repr__(self) -> str:
        return f"<model {self.id[:12]} of {self.servable.manifest.dataset}>"

    def predict(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """What the service answers about each row, with the frame's index: `kiban score` adds the same columns.

        Raises KibanError if a feature is missing, or if the contract rejects a value.
        """
        try:
            table = pa.Table.from_pandas(rows, preserve_index=False)
        except pa.ArrowException as error:
            raise KibanError(f"{WHERE} cannot be read: {one_line(error)}") from None
        table = _with_whole_numbers(table.replace_schema_metadata(), self.servable.contract.features())
        numbers = list(range(1, table.num_rows + 1))
        given = Input(table.schema, False, table.num_rows, iter([Piece(table, numbers, [], table.num_rows)]))
        schema = output_schema(given, self.servable, WHERE, False)
        (answered,) = scored(given, self.servable, schema)
        for row in answered.rejected:
            raise KibanError(f"{WHERE}, row {row.row}: {row.problem}")
        added = answered.rows.select(schema.names[table.num_columns :])
        frame = added.rename_columns([name.removeprefix(PREFIX) for name in added.column_names]).to_pandas()
        return frame.set_index(rows.index)


def _with_whole_numbers(table: pa.Table, features: dict[str, Column]) -> pa.Table:
    """The table with integers where the contract has them: pandas makes numbers of those that lack a value."""
    for place, (name, values) in enumerate(zip(table.column_names, table.columns, strict=True)):
        is_other = name in features and features[name].type == "integer" and pa.types.is_floating(values.type)
        if is_other and pc.all(pc.equal(pc.round(values), values)).as_py() is not False:
            table = table.set_column(place, name, values.cast(pa.int64()))
    return table
