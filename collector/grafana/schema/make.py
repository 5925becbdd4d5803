"""Distil schema.json from the types that Grafana publishes. Needs node, npm and the npm registry.

Type `python collector/grafana/schema/make.py` after a change to types.ts, or for another Grafana.
The tests need neither node nor a network: they check our files against schema.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

GRAFANA: Final = "13.2.3"
ROOTS: Final = ("Dashboard", "AlertRules", "Notifications", "Providers", "DataSources")

_HERE: Final = Path(__file__).resolve().parent
_GENERATOR: Final = "ts-json-schema-generator@2.10.0"
_SPOKEN: Final = {"description", "default", "deprecated", "$schema", "title", "$comment"}
_WORTH_A_NAME: Final = 120
_TSCONFIG: Final = {
    "compilerOptions": {"module": "esnext", "moduleResolution": "bundler", "skipLibCheck": True},
    "files": ["types.ts"],
}
# The types of queries mention types of a package that would bring the whole front end along.
_NOT_NEEDED: Final = """
export type Scope = any;
export type ScopeSpec = any;
export type ScopeSpecFilter = any;
export interface DataSourceJsonData {}
"""


def main() -> int:
    """Write schema.json."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _prepare(folder)
        made = {root: _schema_of(root, folder) for root in ROOTS}
    text = _one_line_each(_with_names(made))
    (_HERE / "schema.json").write_text(text)
    print(f"schema.json: {len(text)} bytes, of Grafana {GRAFANA}")
    return 0


def _prepare(folder: Path) -> None:
    (folder / "package.json").write_text("{}")
    (folder / "tsconfig.json").write_text(json.dumps(_TSCONFIG))
    (folder / "types.ts").write_text((_HERE / "types.ts").read_text())
    _run(folder, "npm", "install", "--silent", f"@grafana/schema@{GRAFANA}", _GENERATOR)
    # Of this one only the types, without the front end that it depends on.
    _run(folder, "npm", "pack", "--silent", f"@grafana/prometheus@{GRAFANA}")
    with tarfile.open(folder / f"grafana-prometheus-{GRAFANA}.tgz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    modules = folder / "node_modules" / "@grafana"
    (folder / "unpacked" / "package").rename(modules / "prometheus")
    (modules / "data").mkdir()
    (modules / "data" / "index.d.ts").write_text(_NOT_NEEDED)


def _schema_of(root: str, folder: Path) -> Any:
    words = ("--path", "types.ts", "--tsconfig", "tsconfig.json", "--type", root)
    generator = folder / "node_modules" / ".bin" / "ts-json-schema-generator"
    text = _run(folder, str(generator), *words, "--no-type-check", "--expose", "none")
    return _without_words(json.loads(text)["definitions"][root])


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def _without_words(schema: Any, *, is_properties: bool = False) -> Any:
    """Return a schema without what only people read; a property may be called like such a word."""
    if isinstance(schema, list):
        return [_without_words(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_words(value, is_properties=key == "properties" and not is_properties)
        for key, value in schema.items()
        if is_properties or key not in _SPOKEN
    }


def _with_names(roots: dict[str, Any]) -> dict[str, Any]:
    """Return one schema, in which what comes more than once is written once."""
    seen: Counter[str] = Counter()

    def count(schema: Any) -> None:
        if isinstance(schema, dict) and "type" in schema and not isinstance(schema["type"], dict):
            seen[json.dumps(schema, sort_keys=True)] += 1
        for part in schema.values() if isinstance(schema, dict) else schema:
            if isinstance(part, dict | list):
                count(part)

    count(roots)
    names: dict[str, str] = {}
    named: dict[str, Any] = {}

    def shared(schema: Any, *, at_its_name: bool = False) -> Any:
        if isinstance(schema, list):
            return [shared(part) for part in schema]
        if not isinstance(schema, dict):
            return schema
        text = json.dumps(schema, sort_keys=True)
        if not at_its_name and seen[text] > 1 and len(text) > _WORTH_A_NAME:
            if text not in names:
                names[text] = f"t{len(names)}"
                named[names[text]] = shared(schema, at_its_name=True)
            return {"$ref": f"#/$defs/{names[text]}"}
        return {key: shared(value) for key, value in schema.items()}

    made = {root: shared(schema) for root, schema in roots.items()}
    return {"grafana": GRAFANA, "roots": made, "$defs": named}


def _one_line_each(schema: dict[str, Any]) -> str:
    lines = [
        f'{{"grafana": "{schema["grafana"]}"',
        *(f',"{part}": {{\n{_joined(schema[part])}\n}}' for part in ("roots", "$defs")),
        "}\n",
    ]
    return "\n".join(lines)


def _joined(schemas: dict[str, Any]) -> str:
    return ",\n".join(
        f'"{name}": {json.dumps(schemas[name], sort_keys=True, separators=(",", ":"))}'
        for name in schemas
    )


if __name__ == "__main__":
    sys.exit(main())
