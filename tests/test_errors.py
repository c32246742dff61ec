"""Errors travel: a worker on another machine says the same as one on this."""

import pickle

import pytest

from mis_dataset.errors import DatasetError, MisError, RecipeError, StorageError


@pytest.mark.parametrize(
    "error",
    [StorageError("no space left"), RecipeError("recipe.toml", ["one", "two"]), DatasetError("mis", ["row a"])],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_in_another_process(error: MisError):
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there)) == (type(error), str(error))
    assert getattr(there, "problems", None) == getattr(error, "problems", None)
