"""Genotypes as text: JSON, also of block cells, the Python of published code, NAS-Bench-201's strings, published names.

    >>> read_genotype("|nor_conv_3x3~0|+|none~0|skip_connect~1|").normal.inputs
    1

Text that looks like Python is parsed, never run.
"""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nat.errors import InputError, unknown_name
from nat.supernet.cells.blocks import BlockCell
from nat.supernet.cells.genotype import Cell, Genotype

LONGEST = 100_000  # characters; genotypes have hundreds
MOST_NODES = 1000
_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_STRING = re.compile(r"\|[^|~]+~\d+\|")  # how those of NAS-Bench-201 begin
_FORMS = (
    'JSON, {"blocks": [[input, operation, input, operation], ...]}, Genotype(normal=[(operation, from), ...], '
    "normal_concat=..., reduce=..., reduce_concat=...), or |operation~from|+|...|"
)


def read_genotype(text: str) -> Genotype:
    """The genotype that a text spells.

    Args:
        text: JSON (`Genotype.to_json`, or `BlockCell.to_json`, whose network joins the blocks that no other takes), a
            `Genotype(...)` as published code has it, perhaps assigned to a name, or a string of NAS-Bench-201.

    Raises:
        InputError: it is none of them, or no genotype.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise InputError(f"expected one genotype, got {len(text):,} characters.")
    if text.startswith("{"):
        try:
            data = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"expected a genotype as JSON: {error}.") from error
        return BlockCell.from_json(data).genotype() if "blocks" in data else Genotype.from_json(data)
    return _from_string(text) if _STRING.match(text) else Genotype.from_json(_python_fields(text))


def find_genotype(name_or_path: str) -> Genotype:
    """A published genotype by name (`PUBLISHED`), or that of a file in any of the forms of `read_genotype`.

    Raises:
        InputError: there is neither, or the file has no genotype.
    """
    if name_or_path in PUBLISHED:
        return read_genotype(PUBLISHED[name_or_path])
    if name_or_path.lstrip().startswith(("{", "Genotype", "|")):
        return read_genotype(name_or_path)
    path = Path(name_or_path).expanduser()
    if not path.exists() and path.suffix == "" and path.parent == Path():
        raise unknown_name("genotype, and no file", name_or_path, PUBLISHED)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read a genotype from '{path}': {error}. Give a file with {_FORMS}.") from error
    return read_genotype(text)


def _from_string(text: str) -> Genotype:
    nodes = []
    for part in text.split("+"):
        words = [word.split("~") for word in part.strip().strip("|").split("|")]
        if not all(len(word) == 2 and word[1].isascii() and word[1].isdigit() for word in words):
            raise InputError(f"expected |operation~from|... for each node, joined by +, got '{part}'.")
        nodes.append([(word[0], int(word[1])) for word in words])
    return Genotype(Cell(nodes, outputs=(len(nodes),), inputs=1))


def _python_fields(text: str) -> dict[str, Any]:
    """The arguments of `Genotype(...)`; literals and ranges only."""
    try:
        body = ast.parse(text).body
        statement = body[0] if len(body) == 1 else None
        call = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
            raise InputError(f"expected one genotype, as {_FORMS}, got '{text[:60]}'.")
        fields = dict(zip(_FIELDS, call.args, strict=False))
        fields |= {str(keyword.arg): keyword.value for keyword in call.keywords}
        return {name: _literal(node) for name, node in fields.items()}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected one genotype, as {_FORMS}: {error}.") from error


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        numbers = range(*(int(ast.literal_eval(argument)) for argument in node.args))
        if len(numbers) > MOST_NODES:
            raise InputError(f"expected at most {MOST_NODES} nodes, got a range of {len(numbers):,}.")
        return list(numbers)
    return ast.literal_eval(node)


# As published: https://github.com/quark0/darts (cnn/genotypes.py), https://github.com/xujinfan/NASP-codes, and
# PNASNet-5 of TensorFlow's models, its inputs renumbered; it joins all blocks, the one that another takes, too
PUBLISHED: Mapping[str, str] = MappingProxyType(
    {
        "darts-v1": """Genotype(
            normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),
                ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)],
            normal_concat=range(2, 6),
            reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),
                ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)],
            reduce_concat=range(2, 6))""",
        "darts-v2": """Genotype(
            normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),
                ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)],
            normal_concat=range(2, 6),
            reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1),
                ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],
            reduce_concat=range(2, 6))""",
        "nasp": """Genotype(
            normal=[('conv_3x1_1x3', 0), ('conv_3x3', 1), ('dil_conv_3x3', 2), ('conv_3x3', 1),
                ('dil_conv_3x3', 2), ('conv_3x3', 0), ('skip_connect', 0), ('dil_conv_3x3', 3)],
            normal_concat=range(2, 6),
            reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_5x5', 1),
                ('skip_connect', 2), ('skip_connect', 3), ('skip_connect', 0), ('skip_connect', 1)],
            reduce_concat=range(2, 6))""",
        "pnasnet-5": """Genotype(
            normal=[('sep_conv_5x5', 0), ('max_pool_3x3', 0), ('sep_conv_7x7', 1), ('max_pool_3x3', 1),
                ('sep_conv_5x5', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 4), ('max_pool_3x3', 1),
                ('sep_conv_3x3', 0), ('skip_connect', 1)],
            normal_concat=range(2, 7),
            reduce=[('sep_conv_5x5', 0), ('max_pool_3x3', 0), ('sep_conv_7x7', 1), ('max_pool_3x3', 1),
                ('sep_conv_5x5', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 4), ('max_pool_3x3', 1),
                ('sep_conv_3x3', 0), ('skip_connect', 1)],
            reduce_concat=range(2, 7))""",
    }
)
