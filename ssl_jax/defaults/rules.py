"""What a config value may be: rules that say themselves in words.

>>> PROBABILITY.allows(0.5), PROBABILITY.allows(2.0), PROBABILITY.says
(True, False, 'a number from 0 to 1')
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """A set of values: `says` completes the sentence "expected ...", `allows` decides."""

    says: str
    allows: Callable[[Any], bool]


def _number(value, low=-math.inf, high=math.inf) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and low <= value <= high


def _sequence(value) -> bool:
    return isinstance(value, tuple | list)  # a tuple comes back from config.json as a list


NUMBER = Rule("a finite number", _number)
NOT_NEGATIVE = Rule("a number from 0 on", lambda value: _number(value, 0))
POSITIVE = Rule("a number above 0", lambda value: _number(value, 0) and value > 0)
PROBABILITY = Rule("a number from 0 to 1", lambda value: _number(value, 0, 1))
BELOW_ONE = Rule("a number from 0 to below 1", lambda value: _number(value, 0, 1) and value < 1)
BOOL = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("text", lambda value: isinstance(value, str))
NAME = Rule("text that is not empty", lambda value: isinstance(value, str) and value != "")
SOURCE = Rule(
    "a data source, such as 'digits', 'folder:DIR' or 'tfds:NAME'",
    lambda value: isinstance(value, str) and value.partition(":")[0].isidentifier() and not value.endswith(":"),
)


def whole(low: int, high: int | None = None) -> Rule:
    """Whole numbers from `low` to `high`, or without an end."""
    says = f"a whole number from {low} on" if high is None else f"a whole number from {low} to {high}"
    return Rule(says, lambda value: isinstance(value, int) and _number(value, low, math.inf if high is None else high))


def one_of(*choices) -> Rule:
    """One of these values."""
    listed = [repr(choice) for choice in choices]
    says = " or ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]
    return Rule(says, lambda value: not isinstance(value, bool) and any(value == choice for choice in choices))


def several(rule: Rule, count: int | None = None, at_least: int = 0) -> Rule:
    """A tuple whose values all follow `rule`."""
    size = f"{count} values" if count else f"{at_least} or more values" if at_least else "any number of values"
    return Rule(
        f"a tuple of {size}, each {rule.says}",
        lambda value: _sequence(value)
        and (len(value) == count if count else len(value) >= at_least)
        and all(rule.allows(one) for one in value),
    )


def rising(rule: Rule) -> Rule:
    """A pair (lowest, highest)."""
    return Rule(
        f"a pair (lowest, highest), each {rule.says}",
        lambda value: _sequence(value) and len(value) == 2 and all(map(rule.allows, value)) and value[0] <= value[1],
    )


def or_none(rule: Rule) -> Rule:
    """None, or what the rule allows."""
    return Rule(f"None or {rule.says}", lambda value: value is None or rule.allows(value))
