"""The digest of a feature's code: what its function and the functions beside it compute, not how they are laid out."""

import ast
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["code_digest"]


def code_digest(function: Callable[..., Any]) -> str:
    """Return 16 hexadecimal digits that change with the code of a function; empty where its source is not known.

    Parameters
    ----------
    function : whose code is meant, with all functions, classes and constants of its own module that it names, directly
        or through each other. Comments, docstrings, annotations of lines and layout do not count. What it imports does
        not count either: a change there is one of another package, or wants a new version of the feature all the same

    Examples
    --------
    >>> len(code_digest(code_digest)), code_digest(len)
    (16, '')
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:  # built in, or an object that is called
        return ""
    tree = _tree_of(code.co_filename)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    own = [node for node in ast.walk(tree) if isinstance(node, kinds) and _first_line(node) == code.co_firstlineno]
    if not own:
        return ""
    text = "\n".join(ast.dump(_without_words(part)) for part in _reachable(own, _definitions(tree)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> int:
    """Return the line at which a function begins, decorators and all."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _tree_of(file: str) -> ast.Module:
    """Return the syntax tree of a file; an empty one where there is none, as for what is typed at a prompt."""
    try:
        return ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _definitions(tree: ast.Module) -> dict[str, ast.AST]:
    """Return what a module defines at its top, by name."""
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def _reachable(own: Sequence[ast.AST], known: Mapping[str, ast.AST]) -> list[ast.AST]:
    """Return trees and the definitions that they name, directly or not, sorted by name."""
    names: set[str] = set()
    left = list(own)
    while left:
        named = {node.id for node in ast.walk(left.pop()) if isinstance(node, ast.Name)} & set(known)
        left += [known[name] for name in named - names]
        names |= named
    return [*own, *(known[name] for name in sorted(names))]


def _without_words(tree: ast.AST) -> ast.AST:
    """Remove docstrings, which compute nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    """Tell whether a statement is a text that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
