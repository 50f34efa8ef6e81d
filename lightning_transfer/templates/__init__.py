"""Lists of sentences around the name of a class, `{}` in its place, one list a file; a list is named without `.txt`."""

from lightning_transfer.templates.lists import PLACE, list_names, read_templates, sentences

__all__ = ["PLACE", "list_names", "read_templates", "sentences"]
