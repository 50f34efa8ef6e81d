"""Lists of sentences around the name of a class (`{}`) or the fields of a text, one list a file; a list is named without `.txt`."""

from lightning_transfer.templates.lists import PLACE, list_names, read_templates, sentences
from lightning_transfer.templates.template import LABEL, fields_of, fill, halves, places, read_template, unescaped

__all__ = [
    "LABEL",
    "PLACE",
    "fields_of",
    "fill",
    "halves",
    "list_names",
    "places",
    "read_template",
    "read_templates",
    "sentences",
    "unescaped",
]
