"""The errors of the extension, with the messages of `spec-schema/draft/errors.json` (err-codes, err-no-value)."""

import json
import pathlib

DRAFT = pathlib.Path(__file__).resolve().parents[3] / "spec-schema" / "draft"
_ROWS = {row["name"]: row for row in json.loads((DRAFT / "errors.json").read_text())["errors"]}


class Refusal(Exception):
    """A request that is answered with an error. `data` holds nothing that can be secret."""

    def __init__(self, name, kind, **data):
        row = _ROWS[name]
        self.code, self.data = row["code"], {"kind": kind, **data}
        self.message = row["messages"][kind].format(**self.data)
        super().__init__(self.message)

    def as_json(self):
        return {"code": self.code, "message": self.message, "data": self.data}


def invalid(path, expected):
    return Refusal("InvalidParams", "invalid", path=path, expected=expected)


def unsupported(feature):
    return Refusal("Unsupported", "feature", feature=feature)


# err-internal: one sentence, whatever went wrong.
INTERNAL = {"code": -32603, "message": _ROWS["InternalError"]["messages"]["*"]}
