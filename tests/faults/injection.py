"""Load the package so that each of its functions can be told to fail, one at a time.

A function of ours is found by being there, not by being on a list: every `def` of the package gets
a call in front of its body, when the package is loaded, and that call notes the function's name or
raises. So whatever the package's next version adds is broken, too.

Left out are the functions that stand in for one of the program's (`functools.wraps`, `wrapper`, and
`__get__`, for an attribute): they are the very frame that the program calls. What they call is not
left out. In a function that is all guard (a `with guarded(...)`, or a `try` that ends in one, and
before it nothing that could fail) the call stands behind the guard.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Final

PACKAGE: Final = "otel_orchestrator"
_CALL: Final = "_otel_orchestrator_fault"
# What raises nothing by construction, and what is not there to be called by a program.
_LEFT_OUT: Final = tuple(
    f"{PACKAGE}.{name}" for name in ("_guard", "lifecycle.collecting", "demo", "cli", "_auto")
)


class Defect(RuntimeError):
    """What a function of ours raises that must not."""


class Faults:
    """Which functions were reached, and which one fails.

    Attributes:
        reached: names of functions, as `module:Class.function` without the package.
        broken: the function that raises `Defect` instead of doing its work.
    """

    def __init__(self) -> None:
        self.reached: set[str] = set()
        self.broken: str | None = None

    def __call__(self, name: str) -> None:
        self.reached.add(name)
        if name == self.broken:
            raise Defect(name)


faults: Final = Faults()


def install() -> Faults:
    """Load the package like this from now on; it must not be loaded yet."""
    loaded = [name for name in sys.modules if name.partition(".")[0] == PACKAGE]
    assert not loaded, loaded
    setattr(builtins, _CALL, faults)
    sys.meta_path.insert(0, _Finder())
    return faults


class _Finder:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE or name.startswith(_LEFT_OUT):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        # Not from the cache of compiled files, nor into it.
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        _Injecting(fullname.removeprefix(f"{PACKAGE}.")).visit(tree)
        code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
        return code


class _Injecting(ast.NodeTransformer):
    def __init__(self, module: str) -> None:
        self._module = module
        self._names: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._below(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self._below(node)
        stands_in = node.name in ("wrapper", "__get__") or any(
            isinstance(d, ast.Call) and ast.unparse(d.func) == "functools.wraps"
            for d in node.decorator_list
        )
        if not stands_in:
            name = f"{self._module}:{'.'.join([*self._names, node.name])}"
            call = ast.Call(ast.Name(_CALL, ast.Load()), [ast.Constant(name)], [])
            body = _body_behind_guard(node)
            body.insert(ast.get_docstring(node) is not None and body is node.body, ast.Expr(call))
        return node

    def _below(self, node: Any) -> ast.AST:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        return node  # type: ignore[no-any-return]


def _body_behind_guard(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return the statements that the call belongs before."""
    for statement in node.body[ast.get_docstring(node) is not None :]:
        if isinstance(statement, ast.With) and _is_guard(statement):
            return statement.body
        if isinstance(statement, ast.Try) and any(
            _is_guard(inner) for handler in statement.handlers for inner in handler.body
        ):
            return statement.body
        if not isinstance(statement, ast.If | ast.Assign) or any(
            isinstance(part, ast.Call) for part in ast.walk(statement)
        ):
            break
    return node.body


def _is_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.With) and ast.unparse(
        statement.items[0].context_expr
    ).startswith("guarded(")
