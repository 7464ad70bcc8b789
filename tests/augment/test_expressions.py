"""Conditions equal the same condition evaluated a row at a time, and hold nothing that could do more than compare."""

import numpy as np
import pytest

from augment.expressions import MOST_CHARACTERS, evaluate, parse

COLUMNS = {
    "margin": np.asarray([0.5, -0.5, 0.0, np.nan, 0.1, 2.0], np.float32),
    "sharpness": np.asarray([20.0, 20.0, 5.0, 20.0, np.nan, 0.0], np.float32),
    "pid": np.asarray([2, 2, 7, 7, 20_000_001, 20_000_000]),
}


def holds(text, columns=COLUMNS):
    """Rows where the condition holds."""
    return np.flatnonzero(evaluate(parse(text, list(columns)), columns)[0]).tolist()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("margin>0 & sharpness>10", "(margin>0) and (sharpness>10)"),
        ("margin>0&sharpness>10", "(margin>0) and (sharpness>10)"),
        ("margin>0 | sharpness>10 & pid==2", "(margin>0) or ((sharpness>10) and (pid==2))"),
        ("~margin>0", "not (margin>0)"),
        ("~margin>0 & sharpness>10", "(not (margin>0)) and (sharpness>10)"),
        ("~(margin>0 | sharpness>10)", "not ((margin>0) or (sharpness>10))"),
        ("not margin > 0 or sharpness > 10", "(not (margin>0)) or (sharpness>10)"),
        ("~ ~ margin>0", "margin>0"),
        ("0 < margin < 1", "(0<margin) and (margin<1)"),
        ("-1 <= margin + 0.5 * sharpness / 10 - abs(-margin) != 1", "-1 <= margin+0.5*sharpness/10-abs(-margin) != 1"),
        ("+margin * (2 - -sharpness) >= pid\n - 1", "margin*(2+sharpness) >= pid-1"),
        ("margin == margin", "margin == margin"),
    ],
)
def test_a_condition_means_what_its_words_say(text, meant):
    """Python itself on whole rows is the slow twin; rows with NaN in a column used have a test of their own."""
    rows = [row for row in range(6) if row not in (3, 4)]
    plain = [row for row in rows if eval(meant, {name: float(column[row]) for name, column in COLUMNS.items()})]
    assert [row for row in holds(text) if row in rows] == plain


def test_all_conditions_of_small_numbers_equal_pythons_own():
    """Random conditions without NaN, in which & | ~ stand between parenthesised comparisons only."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.integers(-3, 4, 40), "b": rng.integers(-3, 4, 40).astype(np.float32)}

    def number(depth):
        if depth == 0 or rng.random() < 0.3:
            return str(rng.choice(["a", "b", "1", "2.5"]))
        left, right = number(depth - 1), number(depth - 1)
        return str(rng.choice([f"({left} + {right})", f"({left} - {right})", f"({left} * {right})", f"abs({left})"]))

    def condition(depth):
        if depth == 0 or rng.random() < 0.2:
            return f"({number(2)} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {number(2)})"
        left, right = condition(depth - 1), condition(depth - 1)
        return str(rng.choice([f"({left} and {right})", f"({left} or {right})", f"(not {left})"]))

    for _ in range(200):
        text = condition(3)
        spelled = text.replace("and", "&").replace("or", "|").replace("not", "~")
        code = compile(text, "condition", "eval")
        twin = [r for r in range(40) if eval(code, {"a": float(columns["a"][r]), "b": float(columns["b"][r])})]
        assert holds(spelled, columns) == holds(text, columns) == twin, text


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("margin > 0", [0, 4, 5]),
        ("~(margin > 0)", [1, 2]),
        ("margin != 0", [0, 1, 4, 5]),
        ("margin == margin", [0, 1, 2, 4, 5]),
        ("margin > 0 | sharpness > 10", [0, 1, 3, 4, 5]),
        ("~(margin <= 0 & sharpness <= 10)", [0, 1, 3, 4, 5]),
        ("margin > 0 & sharpness > 10", [0]),
        ("~(margin > 0 & sharpness > 10)", [1, 2, 5]),
        ("-1 < margin < 1", [0, 1, 2, 4]),
    ],
)
def test_what_depends_on_nan_does_not_hold(text, rows):
    """Row 3 has no margin and row 4 no sharpness; they are kept only where the other column decides."""
    assert holds(text) == rows


def test_nan_is_undecided_rather_than_false():
    condition = parse("margin > 0 & sharpness > 10", list(COLUMNS))
    held, failed = evaluate(condition, COLUMNS)
    assert condition.columns == ("margin", "sharpness")
    assert np.flatnonzero(~(held | failed)).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("margin / margin == 1", [0, 1, 4, 5]),
        ("1 / margin > 0", [0, 4, 5]),
        ("~(1 / margin > 0)", [1]),
        ("margin / 0 > 0", []),
        ("~(1 / 0 > margin)", []),
        ("pid / (pid - 7) > 0", [4, 5]),
        ("margin * 1e308 * 1e308 > 0", [0, 4, 5]),
    ],
)
def test_division_by_zero_is_nan_and_nothing_warns(text, rows):
    assert holds(text) == rows


def test_literals_have_the_precision_of_their_column():
    """0.1 as float32 is above 0.1 as float64; and identities above 2**24 are no float32."""
    assert holds("margin > 0.1") == [0, 5]
    assert 4 in holds("margin == 0.1")
    assert holds("pid > 20000000") == [4]


def test_a_condition_without_columns_holds_everywhere_or_nowhere():
    assert holds("1 < 2") == list(range(6))
    assert holds("1 / 0 < 2") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("identity_margin > 0", "no column 'identity_margin'; there are margin, sharpness, pid"),
        ("", "is no condition"),
        ("   ", "is no condition"),
        ("margin > 0 # & sharpness > 10", "is no condition"),
        ("margin", "'margin' is a number, no condition; compare it with one, such as margin > 0"),
        ("margin + 1", "compare it with one"),
        ("margin = 0", "cannot be understood"),
        ("margin > 0 && pid > 0", "cannot be understood"),
        ("margin >", "cannot be understood"),
        ("(margin > 0", "was never closed"),
        ("margin > 0; pid", "cannot be understood"),
        ("margin>1and pid>2", "cannot be understood"),
        ("margin & pid", "'margin' is a number, where a condition is expected"),
        ("(margin > 0) + 1 > 0", "'margin > 0' is a condition, where a number is expected"),
        ("(margin > 0) > 0", "is a condition, where a number is expected"),
        ("abs(margin > 0) > 0", "is a condition, where a number is expected"),
        ("margin > 1e999", "too large"),
        ("margin > 1" + "0" * 400, "too large"),
        ("margin > 1" + "0" * 1900, "too large"),
        ("margin > 0" + " " * MOST_CHARACTERS, "characters, more than"),
        ("margin > 0 & " * 160 + "margin > 0", "characters, more than"),
        ("-" * 300 + "margin > 0", "nested deeper"),
        ("(" * 300 + "margin" + ")" * 300 + "> 0", "cannot be understood"),
        ("margin" + "+ margin" * 60 + "> 0", "nested deeper"),
        ("lambda:" * 200 + "0", "nested deeper|too complicated"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse(text, list(COLUMNS))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') > 0", "margin.__class__ > 0", "margin[0] > 0", "(lambda: 1)() > 0",
        "abs(margin, 1) > 0", "abs(x=margin) > 0", "abs(*margin) > 0", "abs() > 0", "pow(margin, 2) > 0",
        "margin ** 2 > 0", "margin // 2 > 0", "margin % 2 > 0", "margin << 2 > 0", "margin ^ 2 > 0", "margin @ pid > 0",
        "[margin > 0]", "{margin: 1}", "(margin > 0,)", "margin in (1, 2)", "margin is 1", "'a' > margin",
        "1j > margin", "True", "None > margin", "(a := margin) > 0", "margin if margin > 0 else pid",
        "[x for x in margin]",
        "f'{margin}' > 0", "... > margin", "await margin", "(yield)", "margin not in pid", "print(margin) > 0",
    ],
)  # fmt: skip
def test_nothing_else_of_python_is_understood(text):
    with pytest.raises(ValueError, match=r"more than a condition may hold|cannot be understood"):
        parse(text, list(COLUMNS))


def test_the_longest_condition_is_quick():
    text = " & ".join(["margin>0"] * (MOST_CHARACTERS // 11))
    assert len(text) > MOST_CHARACTERS - 20
    assert holds(text) == [0, 4, 5]
