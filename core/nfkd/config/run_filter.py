"""The filter language of runs, such as ``student.hidden < 64 and verdict == "better"``.

Names are dotted paths of settings, or columns of the table of runs. Values are numbers, texts in quotes, true, false.
There are ``and``, ``or``, ``not``, parentheses, ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in [a, b]``, and
``~`` for texts that contain another. Python's own parser reads the text; nothing is evaluated as code.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from nfkd.text import plain

Value = float | str | bool | None
_Operand = Callable[[Mapping[str, Value]], Value]
_DEEPEST = 100
_LONGEST, _SHOWN = 2000, 80  # characters of a filter, and of a name in a message
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CONSTANTS = {"true": True, "false": False}
_CONTAINS = "~"


class FilterError(ValueError):
    """A filter cannot be used; the text says where and why."""


@dataclass(frozen=True)
class RunFilter:
    """A condition on runs.

    Attributes
    ----------
    text
        As it was written.
    names
        The fields that it reads, in their order.
    """

    text: str
    names: tuple[str, ...]
    _test: Callable[[Mapping[str, Value]], Any]

    @classmethod
    def parse(cls, text: str) -> RunFilter:
        """Return the filter of a text; an empty text lets every run pass.

        Raises
        ------
        FilterError
            When the text cannot be read.
        """
        if len(text) > _LONGEST:
            msg = f"the filter has {len(text):,} characters; at most {_LONGEST:,} are possible"
            raise FilterError(msg)
        root = _parsed(text.strip() or "true")
        _check(root)
        return cls(text, tuple(dict.fromkeys(_names(root))), _compiled(root))

    def matches(self, values: Mapping[str, Value]) -> bool:
        """Return whether a run passes; a comparison with a field that it does not have is false.

        Raises
        ------
        FilterError
            When a number is compared with a text.
        """
        return bool(self._test(values))


def require_known(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that no run has.

    Raises
    ------
    FilterError
        With the first such name, and the nearest known one.
    """
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; do you mean {near[0]}?" if near else ""
            msg = f"no run has a column or setting {plain(name, _SHOWN)}{hint}"
            raise FilterError(msg)


def _parsed(text: str) -> ast.expr:
    python = _as_python(text)
    try:
        root = ast.parse(python, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = error.offset if isinstance(error, SyntaxError) and error.offset else 0
        near = f" near {text[max(0, column - 1) : column + 15].strip()!r}" if 0 < column <= len(text) else ""
        msg = f'the filter cannot be read{near}; write for example: student.hidden < 64 and verdict == "better"'
        raise FilterError(msg) from error
    level: list[ast.AST] = [root]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        msg = f"the filter is nested too deeply: at most {_DEEPEST} levels are possible"
        raise FilterError(msg)
    return root


def _as_python(text: str) -> str:
    """Return the text with ``~`` as ``@``, a binary operator that the language does not use otherwise."""
    quote, found = "", list[str]()
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == _CONTAINS:
            letter = "@"
        elif letter in "@\n\r":
            msg = f"the filter has a character that it cannot have: {letter!r}"
            raise FilterError(msg)
        found.append(letter)
    return "".join(found)


def _check(node: ast.expr) -> None:
    """Refuse everything that is not part of the language."""
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_condition(value)
        case _:
            _check_condition(node)


def _check_condition(node: ast.expr) -> None:
    match node:
        case ast.BoolOp():
            _check(node)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_condition(operand)
        case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.List(elts=items) | ast.Tuple(elts=items)]):
            for operand in (node.left, *items):
                _check_operand(operand)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
            for operand in (left, *others):
                _check_operand(operand)
        case ast.BinOp(left=left, op=ast.MatMult(), right=right):
            _check_operand(left)
            _check_operand(right)
        case _ if _name(node):
            pass
        case _:
            _refuse(node)


def _check_operand(node: ast.expr) -> None:
    if _name(node) or _is_number(node) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return
    _refuse(node)


def _refuse(node: ast.expr) -> None:
    msg = (
        f"{ast.unparse(node)[:40]!r} is not possible in a filter: compare fields, numbers and texts, and join "
        "comparisons with and, or, not"
    )
    raise FilterError(msg)


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _name(node: ast.expr) -> str:
    """Return the dotted name that an expression is; empty for other expressions."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            before = _name(value)
            return f"{before}.{attribute}" if before else ""
        case ast.Subscript(value=value, slice=ast.Constant(value=int(index))):
            before = _name(value)
            return f"{before}.{index}" if before else ""
        case _:
            return ""


def _names(node: ast.expr) -> Iterator[str]:
    name = _name(node)
    if name:
        if name not in _CONSTANTS:
            yield name
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _names(child)


def _compiled(node: ast.expr) -> Callable[[Mapping[str, Value]], Any]:
    """Return a function of the values of a run; a walk through the tree for each run is slow."""
    match node:
        case ast.BoolOp(op=op, values=nodes):
            join, parts = (all if isinstance(op, ast.And) else any), [_compiled(part) for part in nodes]
            return lambda values: join(part(values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compiled(operand)
            return lambda values: not inner(values)
        case ast.BinOp(left=left, right=right):
            return _contains(_operand(left), _operand(right))
        case ast.Compare(
            ops=[ast.In() | ast.NotIn() as op], comparators=[ast.List(elts=items) | ast.Tuple(elts=items)]
        ):
            return _is_among(_operand(node.left), [_operand(item) for item in items], wanted=isinstance(op, ast.In))
        case ast.Compare():
            return _comparison(node)
        case _:
            return _operand(node)


def _contains(whole: _Operand, part: _Operand) -> Callable[[Mapping[str, Value]], bool]:
    def test(values: Mapping[str, Value]) -> bool:
        text, wanted = whole(values), part(values)
        return text is not None and wanted is not None and str(wanted).casefold() in str(text).casefold()

    return test


def _is_among(left: _Operand, items: list[_Operand], *, wanted: bool) -> Callable[[Mapping[str, Value]], bool]:
    def test(values: Mapping[str, Value]) -> bool:
        value = left(values)
        return value is not None and any(_compared(ast.Eq(), value, item(values)) for item in items) == wanted

    return test


def _comparison(node: ast.Compare) -> Callable[[Mapping[str, Value]], bool]:
    operands = [_operand(operand) for operand in (node.left, *node.comparators)]
    steps = list(zip(node.ops, pairwise(operands), strict=True))
    if len(steps) == 1:
        [(op, (left, right))] = steps
        return lambda values: _compared(op, left(values), right(values))
    return lambda values: all(_compared(op, left(values), right(values)) for op, (left, right) in steps)


def _operand(node: ast.expr) -> _Operand:
    name = _name(node)
    if name in _CONSTANTS:
        constant = _CONSTANTS[name]
        return lambda _values: constant
    if name:
        return lambda values: values.get(name)
    literal = ast.literal_eval(node)
    value = literal if isinstance(literal, str) else float(literal)
    return lambda _values: value


def _compared(op: ast.cmpop, first: Value, second: Value) -> bool:
    if first is None or second is None:
        return False
    if isinstance(first, str) != isinstance(second, str):
        if isinstance(op, (ast.Eq, ast.NotEq)):
            return isinstance(op, ast.NotEq)
        shown = [repr(plain(value, _SHOWN)) if isinstance(value, str) else f"{value:g}" for value in (first, second)]
        msg = f"{shown[0]} and {shown[1]} cannot be ordered: one is a number, the other a text"
        raise FilterError(msg)
    return _COMPARISONS[type(op)](first, second)
