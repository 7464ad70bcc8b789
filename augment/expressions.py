"""Conditions on columns of numbers, such as `identity_margin>0 & sharpness>10`: parsed, checked, evaluated by NumPy.

The language is a small part of Python's: comparisons (chained too), + - * /, abs, numbers, names of columns, and, or,
not. `&`, `|` and `~` are other spellings of the last three: in Python they bind tighter than comparisons, which nobody
means here.

A condition has three values. A comparison with NaN is undecided, and so is what depends on it: `~(x > 0)` does not hold
where x is NaN.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

MOST_CHARACTERS, MOST_NESTED = 2000, 50
SPELLINGS = str.maketrans({"&": " and ", "|": " or ", "~": " not "})
COMPARISONS: dict[type[ast.cmpop], Callable] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
LANGUAGE = "there are < <= > >= == !=, & | ~, + - * /, abs, numbers, parentheses and columns"

Number = np.ndarray | float
# Where it holds and where it fails; neither where it is undecided. Without a column it has one row for all.
Truth = tuple[Bool[np.ndarray, " #rows"], Bool[np.ndarray, " #rows"]]


@dataclass(frozen=True)
class Condition:
    """A condition that is known to be well formed, and the columns that it names."""

    text: str
    columns: tuple[str, ...]
    tree: ast.expr


def parse(text: str, columns: Sequence[str]) -> Condition:
    """Read a condition on some of `columns`.

    Raises:
        ValueError: no condition, another column, or more than the language has.
    """
    tree = _tree(text)
    names: dict[str, None] = {}
    if _check(tree, columns, names) is not bool:
        raise ValueError(f"{text!r} is a number, no condition; compare it with one, such as {text.strip()[:40]} > 0")
    return Condition(text, tuple(names), tree)


def evaluate(
    condition: Condition, columns: Mapping[str, np.ndarray]
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Where the condition holds and where it fails; elsewhere it is undecided, because of NaN. x / 0 is NaN."""
    count = len(next(iter(columns.values())))
    with np.errstate(all="ignore"):
        holds, fails = _truth(condition.tree, columns)
    return np.broadcast_to(holds, count), np.broadcast_to(fails, count)


def _tree(text: str) -> ast.expr:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"has {len(text):,} characters, more than {MOST_CHARACTERS:,}; make it shorter")
    if not text.strip() or "#" in text:
        raise ValueError(f"{text!r} is no condition; write one such as 'sharpness > 10'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(" ".join(text.translate(SPELLINGS).split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg.partition(".")[0] if isinstance(error, SyntaxError) else "too complicated"
        raise ValueError(f"{text!r} cannot be understood ({reason}); {LANGUAGE}") from None
    level: list[ast.AST] = [tree]
    for _ in range(MOST_NESTED):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise ValueError(f"is nested deeper than {MOST_NESTED} levels; make it simpler")
    return tree


def _check(node: ast.expr, columns: Sequence[str], names: dict[str, None]) -> type:
    """The kind of value, bool or float; the columns it names are added to `names`."""

    def require(kind: type, *parts: ast.expr) -> type:
        for part in parts:
            if _check(part, columns, names) is not kind:
                found, wanted = ("a number", "a condition") if kind is bool else ("a condition", "a number")
                raise ValueError(f"'{ast.unparse(part)}' is {found}, where {wanted} is expected")
        return kind

    match node:
        case ast.BoolOp(values=parts):
            return require(bool, *parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return require(bool, part)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
            require(float, left, *others)
            return bool
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), left=left, right=right):
            return require(float, left, right)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=part):
            return require(float, part)
        case ast.Call(func=ast.Name(id="abs"), args=[part], keywords=[]):
            return require(float, part)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            _finite(value)
            return float
        case ast.Name(id=name):
            if name not in columns:
                raise ValueError(f"no column {name!r}; there are {', '.join(columns)}")
            names[name] = None
            return float
    raise ValueError(f"'{ast.unparse(node)}' is more than a condition may hold: {LANGUAGE}")


def _finite(value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("holds a number that is too large; use one below 1e308")
    return number


def _truth(node: ast.expr, columns: Mapping[str, np.ndarray]) -> Truth:
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return _not(_truth(part, columns))
        case ast.BoolOp(op=op, values=parts):
            pairs = [_truth(part, columns) for part in parts]
            return _all(pairs) if isinstance(op, ast.And) else _not(_all([_not(pair) for pair in pairs]))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_number(part, columns) for part in (left, *others)]
            return _all([_compared(op, *pair) for op, *pair in zip(ops, values[:-1], values[1:], strict=True)])
    raise AssertionError(ast.dump(node))


def _not(pair: Truth) -> Truth:
    holds, fails = pair
    return fails, holds


def _all(pairs: Sequence[Truth]) -> Truth:
    """The conjunction: it holds where all hold and fails where any fails."""
    holds, fails = pairs[0]
    for other_holds, other_fails in pairs[1:]:
        holds, fails = holds & other_holds, fails | other_fails
    return holds, fails


def _compared(op: ast.cmpop, left: Number, right: Number) -> Truth:
    known = np.atleast_1d(~(np.isnan(left) | np.isnan(right)))
    result = np.atleast_1d(COMPARISONS[type(op)](left, right))
    return result & known, ~result & known


def _number(node: ast.expr, columns: Mapping[str, np.ndarray]) -> Number:
    """Literals stay Python's floats, so that a float32 column is compared with 0.1 as a float32 holds it."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return _finite(value)
        case ast.Name(id=name):
            return columns[name]
        case ast.UnaryOp(op=op, operand=part):
            value = _number(part, columns)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(op=op, left=left, right=right):
            first, second = _number(left, columns), _number(right, columns)
            match op:
                case ast.Add():
                    return first + second
                case ast.Sub():
                    return first - second
                case ast.Mult():
                    return first * second
                case ast.Div():
                    return _quotient(first, second)
        case ast.Call(args=[part]):
            return abs(_number(part, columns))
    raise AssertionError(ast.dump(node))


def _quotient(dividend: Number, divisor: Number) -> Number:
    if isinstance(divisor, float):
        return dividend / divisor if divisor else dividend * math.nan
    return dividend / np.where(divisor == 0, math.nan, divisor)
