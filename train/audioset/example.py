"""The message that a record of AudioSet's embeddings is: TensorFlow's SequenceExample.

Its schema is declared here by field numbers, as its public definition has them, so that the
protobuf library alone reads it: no TensorFlow and no generated code.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "streamdet.example"
_Field = descriptor_pb2.FieldDescriptorProto
_LISTS = {
    "BytesList": _Field.TYPE_BYTES,
    "FloatList": _Field.TYPE_FLOAT,
    "Int64List": _Field.TYPE_INT64,
}


@cache
def make_sequence_example_class() -> Any:
    """The message class: ``context.feature`` and ``feature_lists.feature_list``, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="streamdet/example.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, kind in _LISTS.items():
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=kind, label=_Field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), start=1):
        of = _name("".join(word.capitalize() for word in name.split("_")))
        feature.field.add(
            name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=of, oneof_index=0,
            label=_Field.LABEL_OPTIONAL,
        )  # fmt: skip
    several = file.message_type.add(name="FeatureList")
    _message_field(several, "feature", 1, _name("Feature"), repeated=True)
    _add_map(file, "Features", "feature", "Feature")
    _add_map(file, "FeatureLists", "feature_list", "FeatureList")
    whole = file.message_type.add(name="SequenceExample")
    _message_field(whole, "context", 1, _name("Features"))
    _message_field(whole, "feature_lists", 2, _name("FeatureLists"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.SequenceExample")
    return message_factory.GetMessageClass(found)


def _name(message: str) -> str:
    return f".{_PACKAGE}.{message}"


def _message_field(
    message: Any, name: str, number: int, type_name: str, *, repeated: bool = False
) -> None:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    message.field.add(
        name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=type_name, label=label
    )


def _add_map(file: Any, message: str, field: str, value: str) -> None:
    """A message with one map from a string to ``value``: a repeated entry, on the wire."""
    entry = "".join(word.capitalize() for word in field.split("_")) + "Entry"
    holder = file.message_type.add(name=message)
    nested = holder.nested_type.add(name=entry)
    nested.options.map_entry = True
    nested.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    _message_field(nested, "value", 2, _name(value))
    _message_field(holder, field, 1, f"{_name(message)}.{entry}", repeated=True)
