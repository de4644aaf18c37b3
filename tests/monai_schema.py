"""MONAI's requirements for the metadata of a bundle.

MONAI does not contain a schema: its ``verify_metadata`` downloads the schema named in the metadata,
meta_schema_20240725.json. This file has the same requirements for tests without internet: keys, types, form of tensors.
"""

from typing import Any

TEXT, MAPPING = {"type": "string"}, {"type": "object"}
TENSOR = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("type", "format", "dtype"), TEXT),
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": MAPPING,
    },
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
VALUES = {
    "type": "object",
    "patternProperties": {"^.+$": {"anyOf": [TENSOR, TEXT, {"type": ["number", "integer", "boolean"]}]}},
}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors")
TEXTS += ("copyright", "data_source", "data_type", "image_classes", "label_classes", "pred_classes", "intended_use")
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "type": "object",
    "properties": {
        **dict.fromkeys(TEXTS, TEXT),
        **dict.fromkeys(("changelog", "required_packages_version", "eval_metrics", "supported_apps"), MAPPING),
        "references": {"type": "array", "items": TEXT},
        "network_data_format": {
            "type": "object",
            "properties": dict.fromkeys(("inputs", "outputs", "post_processed_outputs"), VALUES),
            "required": ["inputs", "outputs"],
        },
    },
    "required": [*TEXTS[:9], "required_packages_version", "network_data_format"],
}
