"""The sets of models that are measured, by name."""

import model_set
import model_set_more
import model_set_zoo

SETS = {"first": model_set, "more": model_set_more, "zoo": model_set_zoo}


def find(name):
    """(module, name in its `MODELS`) of SET.NAME, or of a NAME of the first set."""
    kind, _, name = name.rpartition(".")
    return SETS[kind or "first"], name
