from mis_dataset.taxonomy import taxonomy


def test_the_papers_categories_and_counts():
    subs = taxonomy().sub_categories.values()
    assert taxonomy().categories == ["Illegal Activity", "Violent", "Hate", "Self-Harm", "Privacy", "Erotic"]
    assert len(subs) == 14
    # The paper's table: easy 1,675 + hard 510.
    assert sum(sub.paper_rows for sub in subs) == 2185
    assert all(sub.definition for sub in subs)
    assert len(taxonomy().relations) >= 8
