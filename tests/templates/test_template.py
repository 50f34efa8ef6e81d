import pytest

from lightning_transfer.templates import fields_of, fill, halves, list_names, places, read_template, read_templates


def test_halves_and_fill_make_the_whole():
    template = "{premise}? {label}, {hypothesis} {{sic}}"
    before, after = halves(template)
    row = {"premise": "It rains {}", "hypothesis": "it is wet"}
    assert fill(before, row) + "Yes" + fill(after, row) == fill(template, row, "Yes")
    assert fill(template, row, "Yes") == "It rains {}? Yes, it is wet {sic}"
    assert fields_of(template) == ["premise", "hypothesis"]


def test_without_a_place_the_answer_is_the_end():
    assert fill("{text} It was", {"text": "So."}, "bad") == "So. It was bad"
    assert fill("{text}\nAnswer:\n", {"text": "So."}, "bad") == "So.\nAnswer:\nbad"
    assert fill("{text} It was", {"text": "So."}) == "So. It was"


def test_the_end_of_a_line_may_be_typed():
    assert read_template(r"Q: {text}\nA:") == "Q: {text}\nA:"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("It was {label}", "shows nothing of a sample"),
        ("{text} {label} {label}", "has 2 places for {label}"),
        ("{} was", "a place without a name"),
        ("{text", "braces that are meant as such are doubled"),
        ("{text!r}", "a field's name and nothing else"),
        ("{text:>3}", "a field's name and nothing else"),
        ("{text.upper}", "a field's name and nothing else"),
    ],
)
def test_refuses(template, message):
    with pytest.raises(ValueError, match=message):
        read_template(template)


def test_a_field_that_is_not_there():
    with pytest.raises(ValueError, match="a place for {title}, but there is text"):
        fill("{title}", {"text": ""})


def test_lists_of_texts():
    fields = {"sst2": ["text"], "snli": ["premise", "hypothesis"]}
    for name, inputs in fields.items():
        for template in read_templates(name, must=("label",), may=inputs):
            assert {*places(template)} == {"label", *inputs}
    assert any("\n" in template for template in read_templates("sst2", must=(), may=("text", "label")))
    assert {*fields} < {*list_names()}
    with pytest.raises(ValueError, match="a place for {premise}, but there is {label}, {text}"):
        read_templates("snli", must=("label",), may=["text"])
