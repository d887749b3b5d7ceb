"""docs/config.md is what the rules and the defaults say."""

from pathlib import Path

from ssl_jax import defaults
from ssl_jax.defaults import check, document


def test_the_document_is_up_to_date():
    text = (Path(__file__).resolve().parents[2] / "docs" / "config.md").read_text()
    assert text == document.document(), "python -m ssl_jax.defaults.document > docs/config.md"


def test_every_default_is_allowed_and_every_key_has_a_rule():
    for name, (held, rules) in document.sections().items():
        keys = {key for key in held if key not in ("groups", "finetune")}
        assert keys == set(rules), name
        for key, rule in rules.items():
            assert rule.allows(held[key]), (name, key, held[key])
    assert check.SECTIONS.keys() < set(defaults.experiment("").keys())
