"""A JSON Schema validator for the keywords that `schema.json` and trigger types use. It reports where a value fails."""

import json
import math
import re

from errors import DRAFT, invalid

DEFINITIONS = json.loads((DRAFT / "schema.json").read_text())["$defs"]
_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    # gen-integers: 1.0 is an integer, and 1.5, "1" and true are not.
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) or isinstance(value, float) and value.is_integer(),
}


def canonical(value):
    """Text that is equal for equal JSON values: the order of members and 1.0 for 1 make no difference (subs-same)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def same(one, other):
    return canonical(one) == canonical(other)


def pointer(path, member):
    """The JSON Pointer (RFC 6901) of a member of the value at `path`."""
    return f"{path}/{str(member).replace('~', '~0').replace('/', '~1')}"


def outside_json(value, path=""):
    """The path of a value that JSON cannot carry (1e400, half of a surrogate pair), or None."""
    if isinstance(value, float) and not math.isfinite(value):
        return path
    if isinstance(value, str):
        return path if any("\ud800" <= character <= "\udfff" for character in value) else None
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        if outside_json(str(name)) is not None:
            return path
        found = outside_json(member, pointer(path, name))
        if found is not None:
            return found
    return None


def violation(schema, value, path=""):
    """The first place where `value` does not fit, as `(path, expected)`, or None."""
    if isinstance(schema, bool):
        return None if schema else (path, "no such member")
    if "$ref" in schema:
        found = violation(DEFINITIONS[schema["$ref"].removeprefix("#/$defs/")], value, path)
        if found:
            return found
    for keyword, rule in schema.items():
        check = _KEYWORDS.get(keyword)
        found = check(rule, value, path, schema) if check else None
        if found:
            return found
    return None


def _type(rule, value, path, _):
    names = rule if isinstance(rule, list) else [rule]
    return None if any(_TYPES[name](value) for name in names) else (path, f"the type {' or '.join(names)}")


def _properties(rule, value, path, _):
    if isinstance(value, dict):
        for name, schema in rule.items():
            found = violation(schema, value[name], pointer(path, name)) if name in value else None
            if found:
                return found
    return None


def _required(rule, value, path, _):
    missing = [name for name in rule if isinstance(value, dict) and name not in value]
    return (path, f"the member {missing[0]}") if missing else None


def _additional(rule, value, path, schema):
    if isinstance(value, dict):
        for name, member in value.items():
            if name not in schema.get("properties", {}):
                # subs-arguments: a member that is not allowed is reported at the object around it.
                found = (path, "no further members") if rule is False else violation(rule, member, pointer(path, name))
                if found:
                    return found
    return None


def _items(rule, value, path, _):
    for index, member in enumerate(value if isinstance(value, list) else ()):
        found = violation(rule, member, pointer(path, index))
        if found:
            return found
    return None


def _any_of(rule, value, path, _):
    found = [violation(branch, value, path) for branch in rule]
    # The branch whose failure lies deepest is the one that was meant.
    return None if None in found else max(found, key=lambda one: one[0].count("/"))


def _all_of(rule, value, path, _):
    return next((found for found in (violation(part, value, path) for part in rule) if found), None)


def _pattern(rule, value, path, _):
    # `$` of JSON Schema is the end; Python's also matches before a final line feed.
    fits = not isinstance(value, str) or re.search(re.sub(r"\$$", r"\\Z", rule), value)
    return None if fits else (path, f"text that matches {rule}")


def _bound(kind, test, words):
    return lambda rule, value, path, _: None if not _TYPES[kind](value) or test(value, rule) else (path, words.format(rule))


_KEYWORDS = {
    "type": _type,
    "const": lambda rule, value, path, _: None if same(rule, value) else (path, f"the value {json.dumps(rule)}"),
    "enum": lambda rule, value, path, _: None if any(same(one, value) for one in rule) else (path, "one of the listed values"),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "allOf": _all_of,
    "not": lambda rule, value, path, _: None if violation(rule, value, path) else (path, "members that do not exclude each other"),
    "pattern": _pattern,
    "minLength": _bound("string", lambda value, rule: len(value) >= rule, "at least {} characters"),
    "maxLength": _bound("string", lambda value, rule: len(value) <= rule, "at most {} characters"),
    "minItems": _bound("array", lambda value, rule: len(value) >= rule, "at least {} items"),
    "maxItems": _bound("array", lambda value, rule: len(value) <= rule, "at most {} items"),
    "uniqueItems": _bound("array", lambda value, _: len({canonical(one) for one in value}) == len(value), "items that differ"),
    "minimum": _bound("number", lambda value, rule: value >= rule, "a number of at least {}"),
    "maximum": _bound("number", lambda value, rule: value <= rule, "a number of at most {}"),
}


def demand(schema, value, path=""):
    """Raises InvalidParams unless the value fits."""
    try:
        where = outside_json(value, path)
        found = (where, "a value that JSON can carry") if where is not None else violation(schema, value, path)
    except RecursionError:
        found = (path, "less nesting")
    if found:
        raise invalid(*found)
