"""Rules of grading, each with answers that it lets through and near ones that it does not."""

import pytest

from rl_core.rewards.grading.decision import decide
from rl_core.rewards.grading.wording import MEANINGFUL_WORDS, time_of_day

# By rule: the gold answer, answers that say it, answers that do not.
RULES: dict[str, list[tuple[str, list[str], list[str]]]] = {
    "mixed numbers": [
        ("-7/3", [r"-2\frac13", "-2 1/3", "-2⅓", r"x=-2\tfrac{1}{3}"], ["-5/3", "-21/3", "2 1/3", "-2-1/3+1"]),
        ("5/3", [r"2-\frac13", "2-1/3", "1 2/3"], [r"2\frac13", "1 3/2", r"-2\frac13"]),
        ("2.5", ["2½", "2 1/2 cups", r"2\frac{1}{2}\text{ hours}"], ["21/2", "2 1/4"]),
        ("1000.5", ["1 000 1/2"], ["1 000/2"]),
    ],
    "long decimals round a value, or begin it": [
        (r"\sqrt2", ["1.41421356237", "1.4142135623730951"], ["1.41421356238", "1.41421356236", "1.4142135623730953"]),
        (r"-\sqrt2", ["-1.41421356237"], ["-1.41421356238", "1.41421356237"]),
        ("2/3", ["0.666666666667", "0.666666666666"], ["0.666666666668", "0.66666666667"]),
        (r"\sqrt2\cdot10^{-400}", ["1.41421356237e-400"], ["1.73205080757e-400"]),
        ("7/3", [r"7/3\approx2.33", r"\frac73\approx2.3"], [r"7/3\approx2.4", r"7/3\approx2.34"]),
        (r"-\sqrt2", [r"-\sqrt2\approx-1.41"], [r"-\sqrt2\approx-1.42"]),
    ],
    "repeating decimals": [
        ("1/3", [r"0.\overline{3}", r"0.\dot{3}", r"0.\bar3", r".\overline{3}"], ["0.333...", "0.3", r"0.3\ldots"]),
    ],
    "digits of every script": [("42", ["\uff14\uff12", "\u0664\u0662", "4\u200b2"], ["\uff14\uff13"])],
    "signs of currencies, percent and degrees": [
        ("42", ["€42", r"\pounds 42", "42°C", r"42^\circ\text{F}", r"42\ ^\circ C", "42%"], ["4$2", "4%2"]),
        ("42", [r"42^\circ C"], [r"42^\circ C_1"]),
    ],
    "units": [
        ("42", [r"\text{42 cm}", r"\mathrm{42\,cm}", "42 m/s^2", r"42\text{ N}", r"42\text{ kJ}", "42'", '42"'],
         ["42 N", "42m", r"\text{42 or 43}", "5'42''", "10'042"]),
        ("0.003", [r"0.003^{\prime\prime}"], ["0.003^2"]),
        ("x_1", ["x_{1}"], ["x_1'"]),
    ],
    "remarks": [
        ("42", ["42 students", r"42\text{ points each}"],
         ["42 January", "42 above", "42 below", "42 tenths", "42 dozens", "42 twice", "42 BC", "42 unknown"]),
    ],
    "names": [
        ("x=5", ["5", "5=x", "AB=5"], ["y=5", "x_1=5"]),
        ("x_1=5", ["x_{1}=5", "5"], ["x_2=5"]),
        ("x>3", [r"(3,\infty)", "3<x"], ["y>3"]),
        ("y=x/2", ["x=2y", "2y=x"], ["y=2x", "x=y/2"]),
        ("x=1, y=2", ["1, 2", "y=2, x=1", "(1,2)"], ["2, 1", "a=1, b=2", "x=2, y=1"]),
        ("1, 2", ["x=1, y=2", "2, 1", "x_1=2, x_2=1", "x=2, x=1"], ["x=2, y=1"]),
        ("I(0)e^{-t}", ["e^{-t}I(0)"], ["-I(0)e^{-t}", "2I(0)e^{-t}", "0"]),
    ],
    "conditions": [
        ("(1,5)", ["x>1, x<5", r"x>1 \text{ and } x<5"], [r"\mathbb{R}", "x>1"]),
        (r"\mathbb{R}", [r"(-\infty,\infty)"], ["x>1, x<5", r"x\ne1, x\ne2", "42<43", r"42\ne43"]),
        (r"(-\infty,1)\cup(2,\infty)", ["x<1, x>2", r"x<1 \text{ or } x>2"], ["x>1, x<2"]),
        (r"[0,4)\cup(4,\infty)", [r"x\ge0 \text{ and } x\ne4"], [r"x\ge0"]),
    ],
    "brackets": [
        ("(1,2)", ["1,2", r"\langle1,2\rangle", r"\begin{pmatrix}1\\2\end{pmatrix}"], [r"\{1,2\}", "2,1"]),
    ],
    "dots stand for more": [("1,2,3", ["1,2,3."], ["1,2,3,...", r"1,2,3,\ldots"]), ("42", ["42."], ["42...", "42.."])],
    "double factorials are not factorials of factorials": [("720", ["(3!)!", "6!"], ["3!!"]), ("3!!", ["3!!"], ["3"])],
    "choices": [("C", ["(C)", "C)", r"\text{(C)}", r"\underline{\text{(C)}}"], ["c", "D)", "(C", "B, C", "(C) 5"])],
    "times of day": [
        (r"\text{4:30 p.m.}", ["4:30 PM", r"4:30\text{ pm}", "04:30 p.m."], ["4:30", "4:30 am", "4:31 pm", "16:30"]),
    ],
    "bases in words": [
        ("101_2", [r"101\text{ (base 2)}", "101 base two", r"101_{\text{two}}", "(101)_2"], ["101", "5", "101 base 3"]),
        ("101", ["101 base 10"], ["101 base 2"]),
    ],
    "ratios in words": [("2:1", ["2 to 1", r"2\text{ to }1"], ["1 to 2", "2"])],
    "ordinals": [("3rd", [r"3^{\text{rd}}", r"3^\text{rd}"], ["3", "4th"])],
    "words": [
        (r"\text{ellipse}", ["an ellipse", "The Ellipse"], ["circle"]),
        (r"\infty", [r"\text{infinity}", "infinity"], ["-infinity"]),
        (r"\text{Area}", [r"\text{area}"], [r"\text{Area}_1"]),
    ],
    "fonts, colours and surroundings": [
        ("1/2", [r"\mathbf{\frac{1}{2}}", r"\textcolor{red}{\frac12}", r"{\large\frac12}", r"\textstyle\frac12",
                 r"\begin{align*}\frac12\end{align*}", r"\text{$\frac12$}"], [r"\color{red}2"]),
        ("x+1", [r"\boldsymbol{x+1}", r"\mathsf{1+x}", r"\ensuremath{x+1}"], [r"\mathbf{x}"]),
        ("24", [r"{24\text{ km}}"], ["{24,25}"]),
    ],
    "TeX": [
        (r"3\sqrt2", [r"\sqrt23", r"\sqrt{2}3"], [r"\sqrt{23}"]),
        (r"\sqrt{23}", ["√23"], [r"\sqrt23"]),
        ("1/2", [r"{1 \over 2}", r"1\over2", r"\nicefrac{1}{2}"], [r"2\over1"]),
    ],
    "functions": [
        ("43", [r"\max\{42,43\}", r"\max(42,43)"], [r"\min\{42,43\}"]),
        ("-2", [r"\det\begin{pmatrix}1&2\\3&4\end{pmatrix}"], [r"\det\begin{pmatrix}1&2\\3&5\end{pmatrix}"]),
        (r"1+i\sqrt3", [r"2\operatorname{cis}60^\circ", r"2\,\mathrm{cis}\frac{\pi}{3}"], [r"2\mathrm{cis}30^\circ"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("gold", "same", "different"),
    [case for cases in RULES.values() for case in cases],
    ids=[f"{rule}: {gold}" for rule, cases in RULES.items() for gold, _, _ in cases],
)
def test_a_rule_lets_through_what_says_the_same_and_nothing_near_it(gold: str, same: list[str], different: list[str]):
    for answer in same:
        assert decide(answer, gold).correct is True, answer
        assert decide(gold, answer).correct is True, answer
    for answer in different:
        assert decide(answer, gold).correct is False, answer
        assert decide(gold, answer).correct is not True, answer  # None where it contradicts itself


@pytest.mark.parametrize("word", sorted(MEANINGFUL_WORDS - {"and", "or"}))
def test_no_word_that_could_change_a_number_is_dropped_behind_it(word: str):
    assert decide(rf"42\text{{ {word}}}", "42").correct is False


def test_only_a_time_of_the_twelve_hour_clock_is_a_time_of_day():
    assert [time_of_day(text) for text in ("4:30 p.m", r"\text{12:05 AM}", "4:30", "4:30 x", "p.m.")] == [
        "4:30 pm", "12:05 am", "", "", "",
    ]  # fmt: skip
