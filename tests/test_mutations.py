"""The places of the deliberate breaks, which `make mutations` plants."""

from tests.mutations import BREAKS, check_places


def test_every_break_has_its_place_in_the_present_code():
    check_places(BREAKS)
