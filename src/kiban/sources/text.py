"""CSV to rows, with every column as text. The contract gives the types later, so that an error can name the value."""

import pyarrow as pa
import pyarrow.csv

from kiban.core.errors import KibanError, one_line

NULLS = ("", "NA")


def rows(content: bytes, where: str, delimiter: str = ",", encoding: str = "utf-8") -> pa.Table:
    """The rows of a CSV file with a header. An empty value and NA are null.

    Raises KibanError, which starts with `where`, if the content is not CSV or has no rows.
    """
    try:
        read = pyarrow.csv.ReadOptions(encoding=encoding)
        parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        header = pyarrow.csv.open_csv(pa.BufferReader(content), read, parse).schema.names
        convert = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), null_values=list(NULLS), strings_can_be_null=True
        )
        table = pyarrow.csv.read_csv(pa.BufferReader(content), read, parse, convert)
    except (pa.ArrowException, LookupError, ValueError) as error:
        reason = one_line(error)
        raise KibanError(
            f"{where} is not a CSV file in {encoding} with {delimiter!r} between values: {reason}"
        ) from None
    if table.num_rows == 0:
        raise KibanError(f"{where} has no rows")
    return table
