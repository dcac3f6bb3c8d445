"""Text with slots: how it is put together, and how it is shown."""

import pytest

from volt.model.text import CLOCK, PID, RUN, STARTED, UIDS, Slot, SlotKind, show, text


def test_a_text_is_its_pieces():
    assert text("/run/", RUN, "/x") == ("/run/", RUN, "/x")


def test_empty_pieces_are_left_out():
    assert text("") == ()
    assert text("", RUN, "") == (RUN,)


def test_a_nul_byte_has_no_place_in_it():
    for parts in (("a\0b",), (RUN, "\0")):
        with pytest.raises(ValueError, match="NUL"):
            text(*parts)


@pytest.mark.parametrize(
    ("slot", "shown"),
    [
        (RUN, "{run}"),
        (UIDS, "{uids}"),
        (Slot(SlotKind.UIDS, 1000), "{uids+1000}"),
        (PID, "{pid}"),
        (STARTED, "{started}"),
        (CLOCK, "{clock}"),
    ],
)
def test_a_slot_is_shown_in_braces(slot, shown):
    assert show(text("a ", slot, " b")) == f"a {shown} b"


def test_braces_of_the_text_itself_are_doubled():
    assert show(text("{run}", RUN, "}{")) == "{{run}}{run}}}{{"


def test_no_two_texts_are_shown_alike():
    texts = [text("{run}"), text(RUN), text("{", RUN, "}"), text("{{run}}"), text("run")]
    assert len({show(one) for one in texts}) == len(texts)


def test_every_kind_of_slot_has_a_number_of_its_own_and_none_is_zero():
    """Zero behind the mark is the mark itself, in the binary form."""
    assert sorted(SlotKind) == list(range(1, len(SlotKind) + 1))
