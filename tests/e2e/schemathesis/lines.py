"""How schemathesis sends JSON lines, which it does not know: the string that it made, as it is."""

import schemathesis


@schemathesis.serializer("application/jsonlines")
def as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    return str(value).encode(errors="replace")
