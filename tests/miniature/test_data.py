from benchmarks.miniature.data import Row, Rows, divide, first_sentence


def test_nothing_learned_shows_a_held_out_pair(world: Rows):
    # What the tables claim rests on this.
    held_out = {row.pair for row in world.held_out}

    assert held_out
    assert held_out.isdisjoint(row.pair for row in world.learned)


def test_what_settings_are_chosen_by_shows_nothing_that_is_held_out(world: Rows):
    # Else the settings would know the rows that models are compared on.
    rows = divide(world.learned + world.held_out, validating=True)
    held_out = {row.pair for row in world.held_out}
    shown = {row.pair for row in rows.held_out}

    assert shown
    assert held_out.isdisjoint(shown | {row.pair for row in rows.learned})
    assert shown.isdisjoint(row.pair for row in rows.learned)


def test_twins_are_held_out_together(world: Rows):
    names = {row.id for row in world.held_out}

    assert all(row.twin_id in names for row in world.held_out)


def test_only_easy_and_hard_are_held_out(world: Rows):
    assert {row.subset for row in world.held_out} == {"easy", "hard"}
    assert {row.subset for row in world.published} == {"train"}
    assert {row.subset for row in world.in_kind} == {"easy", "hard"}


def test_a_short_response_keeps_what_is_seen_and_how_it_ends(every: tuple[Row, ...]):
    for row in every:
        assert row.response.endswith(row.closing)
        assert all(name in row.response for name in row.objects)
        assert row.messages[-1]["content"][0]["text"] == row.response


def test_a_first_sentence_ends_at_its_own_mark():
    assert first_sentence("Is it 3.5 m long? Yes.") == "Is it 3.5 m long?"
    assert first_sentence("All of it.") == "All of it."
