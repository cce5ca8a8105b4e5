from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from delivery.evaluation.endpoints.choosing import choice_tree
from delivery.evaluation.endpoints.prefixes import NO_SLOT, Batch, Prompt, choices_of, ordered, plan

TREE = choice_tree([[1, 2, 3], [1, 2], [4]])


def said_by(openings: list[list[int]], parts: list[tuple[int, int, list[int]]]) -> list[Prompt]:
    """Prompts out of long openings, cut at random places, and what is their own."""
    prompts = []
    for number, (opening, cut, own) in enumerate(parts):
        ids = [*openings[opening % len(openings)][: cut or None], *own]
        prompts.append(Prompt(f"p-{number}", ids, TREE if len(own) % 2 else None))
    return prompts


PROMPTS = st.builds(
    said_by,
    st.lists(st.lists(st.integers(0, 2), min_size=30, max_size=60), min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0, 3, 20, 25]), st.lists(st.integers(0, 2), min_size=1, max_size=9)),
        max_size=25,
    ),
)


def computed(held: dict[int, list[int]], batch: Batch) -> None:
    """What computing a batch leaves in the slots: the tokens that each one has seen."""
    for slot, token, parent, position in zip(batch.slots, batch.tokens, batch.parents, batch.positions, strict=True):
        before = [] if parent == NO_SLOT else held[parent]
        assert position == len(before)
        held[slot] = [*before, token]


@given(PROMPTS, st.integers(1, 8), st.integers(1, 400), st.sampled_from([0, 5]))
def test_every_token_sees_its_own_prompt_and_memory_keeps_to_its_bound(
    prompts: list[Prompt], rows: int, room: int, new_tokens: int
) -> None:
    held: dict[int, list[int]] = {}
    seen: list[str] = []
    for batch in plan(prompts, rows=rows, room=room, new_tokens=new_tokens):
        computed(held, batch)
        assert 1 <= len(batch.rows) <= rows
        inner = [(number, i) for number, row in enumerate(batch.rows) for i in range(row.prompt.after)]
        computed(held, choices_of(batch.rows, inner))
        for row in batch.rows:
            seen.append(row.prompt.sample_id)
            assert [held[slot] for slot in row.path] == [row.prompt.ids[: i + 1] for i in range(len(row.path))]
            assert row.path[-1] in batch.slots, "what follows a prompt is read off when its last token is computed"
            assert [held[row.slot(i)] for i in range(row.prompt.after)] == [
                row.prompt.ids + TREE.opening(i) for i in range(row.prompt.after)
            ]
        used = {slot for row in batch.rows for slot in (*row.path, *row.inner)}
        longest = max(len(row.path) for row in batch.rows)
        assert len(batch.rows) == 1 or max(len(used), max(used) + 1) <= room
        assert len(batch.rows) == 1 or not new_tokens or len(batch.rows) * (longest + new_tokens) <= room
    assert sorted(seen) == sorted(prompt.sample_id for prompt in prompts)


def test_openings_at_all_depths_are_computed_once() -> None:
    house, shots, document = list(range(100)), list(range(100, 150)), list(range(200, 260))
    prompts = [Prompt(f"q-{i}", [*house, 900 + i]) for i in range(5)]
    prompts += [Prompt(f"s-{i}", [*house, *shots, 900 + i]) for i in range(5)]
    prompts += [Prompt(f"d-{i}", [*house, *shots, *document, 900 + i]) for i in range(5)]
    for rows in (2, 4, 15):
        batches = plan(prompts[::2] + prompts[1::2], rows=rows, room=10_000)
        assert sum(len(batch.tokens) for batch in batches) == 100 + 50 + 60 + 15


def test_prompts_that_share_little_stand_by_length_and_families_by_their_longest() -> None:
    apart = [Prompt(f"p-{i}", [1, 2, i % 3, *[100 + i] * (10 + (i * 37) % 90)]) for i in range(40)]
    family = [Prompt(f"f-{i}", [7] * 20 + [500 + i] * i) for i in range(1, 5)]
    lengths = [len(prompt.ids) for prompt in ordered(apart)]
    assert lengths == sorted(lengths, reverse=True)
    together = [prompt.sample_id for prompt in ordered(apart[::-1] + family)]
    first = together.index("f-4")
    assert together[first : first + 4] == ["f-4", "f-3", "f-2", "f-1"]
    assert [i for i in together if i.startswith("p")] == [prompt.sample_id for prompt in ordered(apart)]


def test_no_prompts_are_no_batches() -> None:
    assert plan([], rows=4, room=10) == []
