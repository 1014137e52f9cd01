"""A JSON file with a change."""

import json


def edited(path, change):
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))
