"""Where a policy's defects stand: each once, in the line of its key."""

import pytest

from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.draft import read_draft

BLOCK = """\
version: 1
limits:
  - 3
  - metric: ptq_gap
    task: toy_forget
    precision:
      - 4
    because: x
    at_most: 0.1
    at_least: 0.2
    confidence: 0.5
"""


def test_each_defect_stands_in_the_line_of_its_key_and_once():
    with pytest.raises(PolicyError) as caught:
        read_draft(BLOCK, name="p", digest="d")
    assert [(defect.where, defect.found) for defect in caught.value.defects] == [
        ("p:3", "an entry that is 3"),
        ("p:7", "precision 4"),
        ("p:10", "at_least 0.2 above at_most 0.1"),
        ("p:11", "confidence 0.5"),
    ]


def test_lines_are_told_apart_from_a_path_s_own_colons():
    with pytest.raises(PolicyError) as caught:
        read_draft("version: 3\nsute: x\nlimits: []\n", name="C:/a:b.yaml", digest="d")
    assert [defect.where for defect in caught.value.defects] == ["C:/a:b.yaml:1", "C:/a:b.yaml:2", "C:/a:b.yaml:3"]
