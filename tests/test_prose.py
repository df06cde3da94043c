"""Consistent wording: errors are one sentence with a full stop, in the terms of the field."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "tabemb"
FILES = sorted(ROOT.rglob("*.py"))
# The field has established terms for these.
OUT = re.compile(
    r"\b(teach(es|ing)?|taught|judge[sd]?|judging|held back|rows to learn from|tell(s|ing)? apart|rooms?"
    r"|passes over the rows|in one pass|a pass more|own one|what .{1,20} says? of)\b",
    re.IGNORECASE,
)

FILLERS = {"own", "some", "found", "told", "asked", "judged", "learn", "teach"}


def name_of(path):
    return str(path.relative_to(ROOT))


def text_of(node):
    """Return the text of a literal or an f-string, with {} for its expressions; None for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return None


def messages(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = text_of(node.exc.args[0])
            if text is not None:
                yield node.lineno, text


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_errors_are_sentences_with_a_full_stop(path):
    wrong = [
        f"{line}: {text}"
        for line, text in messages(ast.parse(path.read_text()))
        if not text.endswith((".", "?", ".{}"))  # a hint may follow
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_words_of_the_field(path):
    lines = enumerate(path.read_text().splitlines(), start=1)
    wrong = [f"{number}: {line.strip()}" for number, line in lines if OUT.search(line)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_names_are_nouns(path):
    """A variable named by a verb or a filler does not show what it contains."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    stored = [
        (n.lineno, n.id) for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]
    stored += [(n.lineno, n.arg) for n in nodes if isinstance(n, ast.arg)]
    wrong = [f"{line}: {name}" for line, name in stored if name in FILLERS]
    assert not wrong, "\n".join(wrong)
