"""What a JSON Schema cannot say of a file, and why: these mistakes only confnet finds.

The schema sees one file, as values: no other file, no names and what they mean, no code, and nothing of how a value is
written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from confnet.catalog.layers import torch_layers
from confnet.diagnostics import Diagnostic

__all__ = ["LIMITS", "Limit", "is_left_to_confnet"]


@dataclass(frozen=True)
class Limit:
    """A kind of mistake: patterns of its code and its message, and why no schema of one file can know it."""

    code: str
    why: str
    message: str = ""


_EXPRESSIONS = (
    "undefined-name|expression-error|unbalanced-expression|misplaced-dollar|invalid-syntax|empty-code|code-too-.*|"
    "not-allowed-in-expression|invalid-operand|too-much-work"
)
_CODE = (
    "undefined-name|unknown-(attribute|method|function|child)|not-(allowed-in-code|callable|iterable|indexable|settable|a-local"
    "|a-local-list)|(function|module|namespace)-as-value|module-method|missing-(return|member)|possibly-undefined|"
    "wrong-(argument-count|unpacking)|shadowed-namespace|unused-.*|invalid-assert|dollar-in-code|out-argument|"
    "attribute-assignment|changes-.*|list-grows-in-loop|recursive-method|call-of-none|data-dependent-.*|loop-over-.*"
)

LIMITS = (
    Limit(_EXPRESSIONS, "what stands in a `$` expression is a language of its own"),
    Limit(_CODE, "code is a text to JSON Schema"),
    Limit("yaml-.*|merge-key|tag|alias-.*|.*-alias|duplicate-key|folded-code|multiple-documents|not-utf8|invalid-key"
          "|invalid-character|nested-too-deeply|integer-too-large|empty-document",
          "it is a matter of the text, not of its values"),
    Limit("unknown-layer|not-a-layer", "a capitalised name may be a definition, of another file too, or registered"),
    Limit("unknown-(module|parameter|root|variant)|rule-matches-nothing|rule-overridden|tie-.*|invalid-(tie|share)|.*-share|"
          "shadows-layer|recursive-definition|cyclic-include", "it is about what stands elsewhere in the file"),
    Limit("unreadable-file|include-.*|unknown-include|invalid-extends|unknown-edit|edit-conflict|duplicate-definition",
          "it is about other files"),
    Limit("duplicate-name|duplicate-argument", "JSON Schema compares no name with another"),
    Limit("requirement|too-many-modules|caller-.*|invalid-repeat", "it shows when the values of the args are known",
          r"^(?!.*\b(both|neither|`children`|layer key)\b)"),
    Limit("no-module", "all keys together tell whether a document has a module of its own", "only defines some"),
    Limit("invalid-inputs", "the keys of a mapping have no order there"),
    Limit("reserved-name|invalid-name", "what a child or a method may be called, torch's `nn.Module` tells",
          "child|method|parameter|buffer|attribute|`nn.Module`"),
    Limit("shape.*|contract-mismatch|dtype-mismatch|fixed-size|forward-fails|index-out-of-range|auto-.*|refused-by-torch"
          "|invalid-shape", "torch tells, or the shapes do"),
    Limit("invalid-type", "to JSON Schema, 3.0 is an integer", r"not the (number `-?\d+\.0+`|list `.*\d\.0[],])"),
    Limit("invalid-type", "the lists in a list of numbers are of one length",
          r"takes a list of numbers.*not the list `\[\["),
    Limit("invalid-value", "it is a rule over several arguments, or arithmetic with one",
          r"^(?!.* (must be (between|at least|at most(?! half)|greater than|less than)|takes) )"),
)  # fmt: skip


def is_left_to_confnet(diagnostic: Diagnostic) -> bool:
    """Whether only confnet finds a mistake."""
    return _is_of_definition(diagnostic) or any(
        re.fullmatch(limit.code, diagnostic.code) and re.search(limit.message, diagnostic.message) for limit in LIMITS
    )


def _is_of_definition(diagnostic: Diagnostic) -> bool:
    """Whether a mistake is about the arguments of a definition, which the schema of all files does not know."""
    if not re.fullmatch(r"(unknown|missing|too-many|duplicate)-arguments?|invalid-(type|value)", diagnostic.code):
        return False
    callee = re.search(r"^`(\w+)` (has no argument|is missing|takes)|`\w+` of `(\w+)`", diagnostic.message)
    return callee is not None and (callee[1] or callee[3]) not in torch_layers()
