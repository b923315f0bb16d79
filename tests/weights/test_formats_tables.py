"""The tables of docs/conversion-tables.md are those of their generator, and keep what they promise.

Every variant of every library is measured anew: its layer with random weights and biases is the
oracle, for the files that the library writes and for the ways through memory and back.
"""

import formats_libraries
import formats_tables
import pytest

PAGE = formats_tables.PAGE.read_text(encoding="utf-8")
LIBRARIES = {library.name: library for library in formats_libraries.LIBRARIES}

# Keras, Haiku and others build their layers in their own way.
pytestmark = pytest.mark.usefixtures("default_promotion")


def test_every_variant_has_its_row():
    found = [tuple(row[:2]) for row in formats_tables.rows_of(PAGE, "errors")]
    expected = [
        (library.name, variant)
        for library in formats_libraries.LIBRARIES
        for variant in library.variants()
    ]
    assert found == expected


def test_errors_are_within_what_the_page_says():
    compared = 0
    for row in formats_tables.rows_of(PAGE, "errors"):
        _, _, _, _, largest, *both, exact = row
        for error in both:
            if error[0].isdigit():
                # Sums of about ten terms are rounded to float32 in either order, 1e-7 a step for
                # states within 1, and the gates forget most of what was before.
                assert float(error) <= 2e-6 * max(1.0, float(largest)), row
                compared += 1
        has_way_out = both[1][0].isdigit() or both[1] == "-"
        assert (exact != "-") == has_way_out, row
    assert compared > 100


@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "variant"),
    [(name, variant) for name in LIBRARIES for variant in LIBRARIES[name].variants()],
)
def test_a_row_measured_anew(name, variant):
    library = LIBRARIES[name]
    for module in library.needs:
        pytest.importorskip(module)
    cells = list(formats_tables.cells(name, formats_tables.measured(library, variant)))
    (expected,) = (
        row for row in formats_tables.rows_of(PAGE, "errors") if row[:2] == [name, variant]
    )
    # All but the errors, whose last digits are the machine's and the libraries'.
    assert cells[:4] + cells[7:] == expected[:4] + expected[7:]
    for error in cells[5:7]:
        # See above: roundings of sums, as large as the states are.
        assert not error[0].isdigit() or float(error) <= 2e-6 * max(1.0, float(cells[4]))


def test_a_table_is_put_between_its_marks():
    page = "a\n<!-- table: x -->\nold\n<!-- end -->\nb <!-- end -->"
    text = formats_tables.markdown(("one", "two"), [("1", "2")])
    changed = formats_tables.put(page, "x", text)
    assert changed == f"a\n<!-- table: x -->\n{text}\n<!-- end -->\nb <!-- end -->"
    assert list(formats_tables.rows_of(changed, "x")) == [["1", "2"]]
    with pytest.raises(ValueError, match="has no <!-- table: y -->"):
        formats_tables.put(page, "y", text)
