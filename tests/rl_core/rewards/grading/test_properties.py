"""Whatever an answer holds, grading it ends, in bounded time, with a verdict that makes sense."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_core.rewards.answers import extract_answer, final_answer
from rl_core.rewards.gold import check_gold
from rl_core.rewards.grading.decision import decide
from rl_core.rewards.normalization import canonical
from tests.rl_core.rewards.growth import assert_linear, processor_seconds

BOUND_SECONDS = 2.0  # of the processor, for one verdict; nearly all take less than a millisecond

FRAGMENTS = r"""
0 1 2 3 10 23 007 0.5 .25 1,000 1e9 1E-400 9999999999 a b x y n e i f E AB word \pi \infty \alpha \theta
+ - * / ^ _ ! ' = < > , ; : . % $ \% \$ ( ) [ ] { } \{ \} | \lvert \rvert \left \right \left( \right) \left| \right|
\frac \dfrac \frac{ \sqrt \sqrt[ \sqrt{ \binom \sin \cos \tan \log \ln \log_2 \exp \sin^{-1} \sin^2 \lfloor \rfloor
\cdot \times \div \pm \mp \le \ge \ne \approx \in \cup \cap \setminus \mod \choose \emptyset \mathbb{R} ^\circ ^{ _{
\begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases} \begin{vmatrix} \end{vmatrix} & \\ \sum_{k=1}^{ \prod_{k=1}^{
\text{ \text{or} \text{cm} \text{apples} \mathrm{ \operatorname{ and or \, \! \quad \overline{3} \overline{ \boxed{
<think> </think> <answer> </answer> ** \int \lim \ldots
""".split()

answers = st.lists(st.sampled_from([*FRAGMENTS, " ", "}", ")"]), max_size=14).map("".join)
numbers = st.fractions(max_denominator=10**6)


@given(answers, answers)
@settings(max_examples=400, deadline=None)
def test_every_pair_is_decided_in_bounded_time_and_both_ways_alike(answer: str, gold: str):
    assert processor_seconds(lambda: decide(answer, gold)) < BOUND_SECONDS
    decision, other = decide(answer, gold), decide(gold, answer)
    assert decision.correct in (True, False, None)
    if decision.correct:
        assert other.correct is not False


@given(answers)
@settings(max_examples=200, deadline=None)
def test_an_answer_is_itself_and_an_empty_one_is_nothing(answer: str):
    decision = decide(answer, answer)
    if not answer.strip():
        assert decision.correct is False
    elif canonical(answer):
        assert decision.correct is True
    else:
        assert decision.correct in (False, None)


@given(st.text(max_size=200) | answers)
@settings(max_examples=300, deadline=None)
def test_extraction_and_normalisation_take_any_text(text: str):
    found = extract_answer(text)
    assert found is None or found.strip() == found != ""
    final_answer(text)
    assert isinstance(canonical(text), str)
    assert canonical(text + " ") == canonical(text)
    check_gold(text)


@pytest.mark.parametrize("fragment", [*FRAGMENTS, "x ", "1 ", "{1}", "(1)", "1+", "-1", "1,", r"\frac{1}{2}", "a_1"])
def test_time_grows_no_faster_than_the_text(fragment: str):
    assert_linear(_extract_and_decide, lambda size: fragment * size, 500)  # from some 1,000 characters to some 16,000


def _extract_and_decide(text: str) -> None:
    extract_answer(text)
    final_answer(text)
    canonical(text)
    decide(text, "42")
    check_gold(text)


@given(st.text(alphabet=st.characters(exclude_characters="{}\\<"), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_what_is_put_in_a_box_is_found_again(text: str):
    expected = text.strip() or None
    assert extract_answer(f"so \\boxed{{{text}}} it is") == expected


@given(numbers, numbers)
@settings(max_examples=200, deadline=None)
def test_two_rational_numbers_are_the_same_exactly_when_they_are_equal(one: Fraction, other: Fraction):
    spelled = f"\\frac{{{one.numerator}}}{{{one.denominator}}}"
    assert decide(spelled, str(other)).correct is (one == other)
    assert decide(spelled, f"{one.numerator * 7}/{one.denominator * 7}").correct is True


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**6), st.integers(2, 10**4))
@settings(max_examples=100, deadline=None)
def test_a_near_miss_of_an_irrational_number_is_not_paid(whole: int, step: int, radicand: int):
    gold = f"{whole}+\\sqrt{{{radicand}}}"
    assert decide(f"\\sqrt{{{radicand}}}{whole:+d}", gold).correct is True
    assert decide(f"{whole}+\\sqrt{{{radicand}}}+\\frac{{1}}{{{10**25 * step}}}", gold).correct is False
