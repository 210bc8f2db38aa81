"""Rows as text that every reader can produce alike: the Python half of the form that the Java harness prints.

Structs and rows are lists in field order, maps are sorted lists of pairs, floats are the bits of the double that they
equal, decimals plain text, dates and times counts of days and microseconds, bytes and UUIDs text.
"""

import datetime
import json
import struct

from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    ListType,
    MapType,
    StructType,
    TimestampNanoType,
    TimestampType,
    TimestamptzNanoType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)


def plain(value, kind):
    """One value of PyIceberg's Arrow output as JSON can hold it."""
    if value is None:
        return None
    if isinstance(kind, StructType):
        values = [value[field.name] for field in kind.fields]
        return [plain(v, field.field_type) for v, field in zip(values, kind.fields)]
    if isinstance(kind, ListType):
        return [plain(v, kind.element_type) for v in value]
    if isinstance(kind, MapType):
        pairs = value.items() if isinstance(value, dict) else value
        pairs = [[plain(k, kind.key_type), plain(v, kind.value_type)] for k, v in pairs]
        return sorted(pairs, key=dumps)
    if isinstance(kind, (FloatType, DoubleType)):
        return "f7ff8000000000000" if value != value else "f" + struct.pack(">d", value).hex()
    if isinstance(kind, DecimalType):
        return format(value, "f")
    if isinstance(kind, DateType):
        return (value - EPOCH.date()).days
    if isinstance(kind, TimeType):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    if isinstance(kind, (TimestampType, TimestamptzType)):
        return (value.replace(tzinfo=None) - EPOCH) // MICROSECOND
    if isinstance(kind, (TimestampNanoType, TimestamptzNanoType)):
        micros, rest = divmod(value, 1000)
        return f"{micros}+{rest}ns" if rest else micros
    if isinstance(kind, UUIDType):
        return str(value)
    if isinstance(kind, (BinaryType, FixedType)):
        return "x" + bytes(value).hex()
    return value


def loose(value, kind):
    """The value without what readers disagree on: a NULL list or map is an empty one (PyIceberg reads some so), and a
    struct with nothing in it is NULL (PyIceberg and Java differ where a file has none of the struct's fields)."""
    if isinstance(kind, (ListType, MapType)) and value is None:
        return []
    if isinstance(kind, ListType):
        return [loose(v, kind.element_type) for v in value]
    if isinstance(kind, MapType):
        # Sorted once more: Java orders the pairs by their UTF-16 text.
        pairs = [[loose(k, kind.key_type), loose(v, kind.value_type)] for k, v in value]
        return sorted(pairs, key=dumps)
    if isinstance(kind, StructType) and value is not None:
        fields = [loose(v, field.field_type) for v, field in zip(value, kind.fields)]
        return None if all(v is None or v == [] for v in fields) else fields
    return value


def dumps(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def loose_rows(lines, schema):
    """Canonical rows (text) as a sorted list of their loose form."""
    struct_type = schema.as_struct()
    out = []
    for line in lines:
        row = json.loads(line)
        out.append(dumps([loose(v, f.field_type) for v, f in zip(row, struct_type.fields)]))
    return sorted(out)


def exact(lines):
    """Canonical rows, sorted, with JSON's own freedoms (escapes, blanks) taken away."""
    return sorted(dumps(json.loads(line)) for line in lines)


def difference(left, right, limit=3):
    """What one multiset of rows has and the other has not, short enough to read."""
    from collections import Counter

    ours, theirs = Counter(left), Counter(right)
    missing, extra = list((ours - theirs).elements()), list((theirs - ours).elements())
    return f"{len(missing)} rows missing, e.g. {missing[:limit]}; {len(extra)} rows too many, e.g. {extra[:limit]}"
