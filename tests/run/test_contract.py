import pytest

from mis_dataset.errors import BackendError
from mis_dataset.run.contract import one_each


class Lazy:
    pass


def test_results_are_paired_in_order():
    assert list(one_each(Lazy(), "ab", iter([1, 2]))) == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(("results", "given"), [([1], "only 1"), ([], "only 0"), ([1, 2, 3], "more than")])
def test_too_few_or_too_many_results_name_the_backend(results: list[int], given: str):
    with pytest.raises(BackendError, match=f"Lazy gave {given} results for 2 items"):
        list(one_each(Lazy(), "ab", results))
