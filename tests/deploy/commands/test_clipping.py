import pytest

from deploy.commands.clipping import WORSE_DB, warn_of_clipping
from deploy.recipe import Recipe


@pytest.mark.parametrize("method", ["minmax", "percentile-99.99"])
def test_ranges_that_lose_little_are_taken_without_a_word(question, base, capsys, method):
    warn_of_clipping(question, Recipe(method=method), base)
    assert not capsys.readouterr().err


def test_ranges_that_clip_what_the_network_needs_are_noted(question, base, capsys):
    warn_of_clipping(question, Recipe(method="percentile-80"), base)
    said = capsys.readouterr().err
    assert said.startswith(f"percentile-80 ranges clip what {question.fp32.model} needs: ")
    assert "use --method auto or --preset accurate" in said
    clipped_db, whole_db = (float(part.split()[-1]) for part in said.split(" dB")[:2])
    assert whole_db - clipped_db > WORSE_DB


def test_of_the_accurate_preset_it_does_not_name_itself_as_the_way_out(question, base, capsys):
    recipe = Recipe(method="percentile-80", preset="accurate")
    warn_of_clipping(question, recipe, base)
    assert "--preset" not in capsys.readouterr().err
