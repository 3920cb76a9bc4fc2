"""Which responses become pairs, and which problems are held out: cases worked out by hand, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_core.preference.pairing import Answered, Outcome, Pair, Response, choose_pairs, held_out_problems

ANSWERED = st.builds(
    Answered,
    index=st.integers(0, 9),
    problem=st.just("Compute 1 a+2"),
    responses=st.lists(
        # Few texts, so that some come twice; a text has one verdict, as a grader gives it.
        st.tuples(st.integers(0, 9), st.integers(1, 40), st.booleans()).map(
            lambda drawn: Response(str(drawn[0]), drawn[1], (True, False, None)[drawn[0] % 3], drawn[2])
        ),
        max_size=8,
    ).map(tuple),
    solution=st.none() | st.just(Response("the solution", 7, True)),
)
OPTIONS = st.fixed_dictionaries(
    {
        "max_pairs": st.integers(1, 4),
        "match_lengths": st.booleans(),
        "max_length_ratio": st.none() | st.floats(1, 3),
        "use_solution": st.booleans(),
        "seed": st.tuples(st.integers(0, 5)),
    }
)


def right(text: str, num_tokens: int = 10) -> Response:
    return Response(text, num_tokens, True)


def wrong(text: str, num_tokens: int = 10) -> Response:
    return Response(text, num_tokens, False)


def choose(
    *responses: Response,
    solution: Response | None = None,
    max_pairs: int = 1,
    match_lengths: bool = True,
    max_length_ratio: float | None = None,
    use_solution: bool = True,
    seed: int = 0,
) -> tuple[list[Pair], Outcome]:
    return choose_pairs(
        Answered(3, "Compute 1 a+2", responses, solution),
        max_pairs=max_pairs,
        match_lengths=match_lengths,
        max_length_ratio=max_length_ratio,
        use_solution=use_solution,
        seed=(seed,),
    )


def texts(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen.text, pair.rejected.text) for pair in pairs]


def test_the_model_is_preferred_to_the_solution_wherever_it_gives_both() -> None:
    (pair,), outcome = choose(right("a"), wrong("b"), solution=right("solution"))
    assert (pair.chosen.text, pair.rejected.text, pair.chosen_from) == ("a", "b", "model")
    assert (pair.index, pair.problem, outcome) == (3, "Compute 1 a+2", "both_from_model")


def test_the_solution_is_chosen_once_where_no_response_is_right() -> None:
    (pair,), outcome = choose(wrong("b"), wrong("c"), solution=right("solution"), max_pairs=3)
    assert (pair.chosen.text, pair.chosen_from, outcome) == ("solution", "solution", "solution_chosen")


@pytest.mark.parametrize(
    ("responses", "solution", "use_solution", "outcome"),
    [
        ((right("a"), right("b")), right("solution"), True, "no_wrong_response"),
        ((right("a"), Response("b", 3, None)), right("solution"), True, "no_wrong_response"),
        ((wrong("b"),), None, True, "no_right_response"),
        ((wrong("b"), Response("a", 3, None)), None, True, "no_right_response"),
        ((wrong("b"),), right("solution"), False, "no_right_response"),
        ((), right("solution"), True, "no_wrong_response"),
    ],
)
def test_a_problem_without_both_kinds_gives_no_pair_and_says_which_it_lacks(
    responses: tuple[Response, ...], solution: Response | None, use_solution: bool, outcome: str
) -> None:
    assert choose(*responses, solution=solution, use_solution=use_solution) == ([], outcome)


def test_the_closest_lengths_are_paired_first_by_their_ratio() -> None:
    responses = (right("r10", 10), right("r90", 90), wrong("w12", 12), wrong("w100", 100))
    # 100/90 is nearer to 1 than 12/10, though its difference in tokens is larger.
    pairs, _ = choose(*responses, max_pairs=2)
    assert texts(pairs) == [("r90", "w100"), ("r10", "w12")]
    assert [pair.length_ratio for pair in pairs] == [100 / 90, 12 / 10]


def test_pairs_beyond_the_ratio_of_lengths_are_left_out() -> None:
    responses = (right("r10", 10), right("r90", 90), wrong("w12", 12), wrong("w100", 100))
    assert texts(choose(*responses, max_pairs=2, max_length_ratio=1.15)[0]) == [("r90", "w100")]
    assert choose(*responses, max_length_ratio=1.05) == ([], "lengths_differ")


def test_without_matching_the_seed_alone_decides_and_every_pair_can_come() -> None:
    responses = (right("r10", 10), right("r90", 90), wrong("w12", 12), wrong("w100", 100))
    seen = {texts(choose(*responses, match_lengths=False, seed=seed)[0])[0] for seed in range(40)}
    assert seen == {(r, w) for r in ("r10", "r90") for w in ("w12", "w100")}
    for seed in range(5):
        again = [choose(*responses, match_lengths=False, seed=seed) for _ in range(2)]
        assert again[0] == again[1]


@given(ANSWERED, OPTIONS)
def test_what_holds_of_every_choice(answered: Answered, options: dict[str, object]) -> None:
    pairs, outcome = choose_pairs(answered, **options)  # type: ignore[arg-type]
    max_pairs, ratio = options["max_pairs"], options["max_length_ratio"]
    assert isinstance(max_pairs, int)
    assert len(pairs) <= max_pairs
    assert bool(pairs) == (outcome in ("both_from_model", "solution_chosen"))
    chosen, rejected = [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]
    assert all(response.correct is True for response in chosen)
    assert all(response.correct is False for response in rejected)
    assert len({response.text for response in chosen + rejected}) == 2 * len(pairs)
    assert set(rejected) <= set(answered.responses)
    if any(response.correct for response in answered.responses):
        assert set(chosen) <= set(answered.responses)
    else:
        assert all(response is answered.solution for response in chosen)
    assert all(isinstance(ratio, float) is False or pair.length_ratio <= ratio for pair in pairs)  # type: ignore[operator]
    assert choose_pairs(answered, **options) == (pairs, outcome)  # type: ignore[arg-type]


@given(st.lists(st.text("ab", max_size=3), min_size=2), st.floats(0.01, 0.99), st.integers(0, 3))
def test_problems_are_split_by_their_text_and_neither_side_is_empty(
    problems: list[str], fraction: float, seed: int
) -> None:
    different = set(problems)
    if len(different) < 2:
        with pytest.raises(ValueError, match="cannot be split"):
            held_out_problems(problems, fraction, (seed,))
        return
    held_out = held_out_problems(problems, fraction, (seed,))
    assert held_out < different
    assert len(held_out) == min(len(different) - 1, max(1, round(fraction * len(different))))
    # What is held out does not depend on the order of the rows.
    assert held_out_problems(sorted(problems), fraction, (seed,)) == held_out


def test_other_seeds_hold_out_other_problems() -> None:
    problems = [str(number) for number in range(40)]
    drawn = [frozenset(held_out_problems(problems, 0.25, (seed,))) for seed in range(3)]
    assert len(set(drawn)) == 3
    assert {len(each) for each in drawn} == {10}
