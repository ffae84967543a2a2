"""TensorFlow's SequenceExample, the message in a record of AudioSet's embeddings.

The schema is declared here with the field numbers of its public definition, so that the protobuf
library reads it without TensorFlow or generated code.
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
    """Make the message class, with ``context.feature`` and ``feature_lists.feature_list``."""
    file = descriptor_pb2.FileDescriptorProto(
        name="streamdet/example.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, kind in _LISTS.items():
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=kind, label=_Field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), start=1):
        list_type = _name("".join(word.capitalize() for word in name.split("_")))
        feature.field.add(
            name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=list_type, oneof_index=0,
            label=_Field.LABEL_OPTIONAL,
        )  # fmt: skip
    feature_list = file.message_type.add(name="FeatureList")
    _add_message_field(feature_list, "feature", 1, _name("Feature"), repeated=True)
    _add_map(file, "Features", "feature", "Feature")
    _add_map(file, "FeatureLists", "feature_list", "FeatureList")
    example = file.message_type.add(name="SequenceExample")
    _add_message_field(example, "context", 1, _name("Features"))
    _add_message_field(example, "feature_lists", 2, _name("FeatureLists"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.SequenceExample")
    return message_factory.GetMessageClass(descriptor)


def _name(message: str) -> str:
    return f".{_PACKAGE}.{message}"


def _add_message_field(
    message: Any, name: str, number: int, type_name: str, *, repeated: bool = False
) -> None:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    message.field.add(
        name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=type_name, label=label
    )


def _add_map(file: Any, message: str, field: str, value: str) -> None:
    """Add a message with a map from strings to ``value``, which is a repeated entry on the wire."""
    entry = "".join(word.capitalize() for word in field.split("_")) + "Entry"
    holder = file.message_type.add(name=message)
    nested = holder.nested_type.add(name=entry)
    nested.options.map_entry = True
    nested.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    _add_message_field(nested, "value", 2, _name(value))
    _add_message_field(holder, field, 1, f"{_name(message)}.{entry}", repeated=True)
