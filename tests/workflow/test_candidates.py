from __future__ import annotations

import dataclasses

from bmopt.backends.nvinfer.schemes import SCHEMES
from bmopt.core.scheme import FloatRules
from bmopt.workflow.quantizing import candidates, format_rules, parse_rules

RULES = SCHEMES["int8"].rules


def test_candidates_for_a_gpu_go_through_text() -> None:
    found = candidates(RULES, "inputs")
    assert [parse_rules(format_rules(rules)) for rules in found] == found
    assert len(set(found)) >= 8


def test_they_try_all_the_rules_and_what_is_in_doubt() -> None:
    found = candidates(RULES, "inputs")
    assert found[0] == FloatRules()
    assert RULES in found
    assert FloatRules(prefix=1) in found
    assert any(dataclasses.replace(rules, narrow_depthwise=0) == RULES != rules for rules in found)


def test_rules_that_keep_depthwise_are_tried_without_doing_so() -> None:
    rules = dataclasses.replace(RULES, narrow_depthwise=1 << 16)
    assert RULES in candidates(rules, "inputs")
