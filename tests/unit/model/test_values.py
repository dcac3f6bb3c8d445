"""Values: what dataclasses promises of a frozen class, kept by functions that are written once."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import ClassVar

import pytest

from volt.model.values import Value, defaults, field, kinds, replace


class Point(Value):
    """Two required fields, one with a default, one whose default is made anew, and what is no field."""

    unit: ClassVar[str] = "mm"
    x: int
    y: int
    name: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def far(self) -> bool:
        return self.x + self.y > 10


class Place(Point):
    """More fields behind those of its base."""

    z: int = 0


def test_fields_are_given_by_place_or_by_name():
    assert Point(1, 2) == Point(x=1, y=2) == Point(1, y=2, name="", tags={})
    one = Place(1, 2, "a", {}, 3)
    assert (one.x, one.y, one.name, one.tags, one.z) == (1, 2, "a", {}, 3)
    assert (one.far, one.unit) == (False, "mm")


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1,), {}), ((), {"y": 2}), ((1, 2), {"x": 1}), ((1, 2), {"w": 3}), ((1, 2), {"unit": "m"}),
     ((1, 2, "", {}, 5), {})],
)  # fmt: skip
def test_one_missing_one_too_many_and_one_twice_are_errors(values, named):
    with pytest.raises(TypeError, match="Point"):
        Point(*values, **named)


def test_nothing_of_a_value_can_be_changed():
    one = Point(1, 2)
    with pytest.raises(AttributeError, match=r"Point\.x cannot be changed"):
        one.x = 3
    with pytest.raises(AttributeError, match=r"Point\.w cannot be changed"):
        one.w = 3
    with pytest.raises(AttributeError, match=r"Point\.x cannot be deleted"):
        del one.x
    assert one == Point(1, 2)


def test_two_are_equal_where_class_and_fields_are():
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Place(1, 2)
    assert Point(1, 2) != (1, 2, "", {})


def test_equal_values_have_one_hash_and_what_can_be_changed_has_none():
    class Pair(Value):
        a: int
        b: str = ""

    assert hash(Pair(1)) == hash(Pair(a=1, b=""))
    assert len({Pair(1), Pair(1), Pair(2)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1, 2))


def test_a_default_that_is_made_is_nobody_elses():
    Point(1, 2).tags["a"] = "b"
    assert Point(1, 2).tags == {}


def test_it_shows_its_class_and_fields_in_order():
    assert repr(Place(y=2, x=1, z=3)) == "Place(x=1, y=2, name='', tags={}, z=3)"


def test_it_is_taken_apart_by_place():
    match Point(1, 2, "a"):
        case Point(x, y, name):
            assert (x, y, name) == (1, 2, "a")


def test_replacing_gives_another_and_keeps_the_first():
    one = Point(1, 2, tags={"a": "b"})
    assert replace(one, x=3) == Point(3, 2, tags={"a": "b"})
    assert one.x == 1
    with pytest.raises(TypeError, match="w"):
        replace(one, w=3)


def test_copies_and_pickles_are_equal():
    one = Place(1, 2, tags={"a": "b"})
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_the_functions_of_dataclasses_take_values():
    one = Place(1, 2)
    assert dataclasses.is_dataclass(Place)
    assert [(each.name, each.type) for each in dataclasses.fields(one)] == list(kinds(Place).items())
    assert [each.name for each in dataclasses.fields(Point)] == ["x", "y", "name", "tags"]
    assert dataclasses.replace(one, z=5) == Place(1, 2, z=5)
    assert dataclasses.asdict(Point(1, 2)) == {"x": 1, "y": 2, "name": "", "tags": {}}


def test_kinds_and_defaults_are_those_that_were_written():
    assert kinds(Place) == {"x": "int", "y": "int", "name": "str", "tags": "dict[str, str]", "z": "int"}
    assert {name: defaults(Place)[name] for name in ("name", "z")} == {"name": "", "z": 0}
    assert "x" not in defaults(Place)


def test_a_launch_needs_no_dataclasses():
    code = "import sys, volt.cli.words, volt.plan.assemble, volt.manifest; print('dataclasses' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
