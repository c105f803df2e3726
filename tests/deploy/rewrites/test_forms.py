from dataclasses import fields

import pytest

from deploy.errors import UsageError
from deploy.rewrites.forms import Forms, choices, chosen, forms_of_record


def test_nothing_asked_for_is_auto_everywhere():
    assert set(chosen(layernorm=None).record().values()) == {"auto"}


@pytest.mark.parametrize("name", [field.name for field in fields(Forms)])
def test_each_form_that_is_offered_can_be_asked_for(name):
    offered = choices(name).split("|")
    assert {"auto", "keep"} <= set(offered)
    for form in offered:
        assert chosen(**{name: form}).record()[name] == form


def test_a_form_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="unknown form 'dcr' of gate: use auto, convs, keep"):
        chosen(gate="dcr")


def test_a_record_gives_the_forms_back():
    forms = chosen(layernorm="folded", ends="keep")
    assert forms_of_record(forms.record()) == forms


def test_what_another_version_recorded_is_auto():
    record = {"layernorm": "folded", "gate": "a later form", "a later thing": "x"}
    assert forms_of_record(record) == Forms(layernorm="folded")
