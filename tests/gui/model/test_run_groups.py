"""Groups whose likelihoods compare."""

from __future__ import annotations

from nfkd_gui.model.run_groups import RunGroup, same_data


def group(key: str, data: str, unit: str) -> RunGroup:
    return RunGroup(key, (), {"data": data, "unit": unit}, ())


def test_likelihoods_of_noisy_images_are_kept_apart_from_others() -> None:
    usual = [group("a", "digits", "bits/dim"), group("b", "digits", "bits/dim")]
    new, noisy = group("c", "digits", ""), group("d", "digits", "bits/dim (noisy)")
    other = group("e", "mnist", "bits/dim")
    assert same_data([noisy, *usual, new, other]) == [*usual, new]
    assert same_data([new]) == [new]
    assert same_data([]) == []


def test_the_data_of_the_chosen_groups_come_first() -> None:
    usual = [group("a", "digits", "bits/dim"), group("b", "digits", "bits/dim")]
    other, noisy = group("c", "mnist", "bits/dim"), group("d", "mnist", "bits/dim (noisy)")
    groups = [*usual, other, noisy]
    assert same_data(groups, [other]) == [other]
    assert same_data(groups, [noisy]) == [noisy]
    assert same_data(groups, [usual[0], other, usual[1]]) == usual
    assert same_data(groups, [group("e", "mnist", "")]) == [other]  # its unit is not known yet
