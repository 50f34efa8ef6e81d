import torch

from lightning_transfer.reports.retrieval import nearest_images, some_of


def test_finds_the_nearest_and_marks_its_own():
    image = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    text = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    rows = nearest_images(image, text, torch.tensor([5, 5, 9, 9]), ["up", "up", "right", "right"], 3)
    assert [(row.caption, row.images, row.right) for row in rows] == [
        ("up", [2, 1, 0], [False, True, True]),
        ("right", [0, 1, 2], [False, False, True]),
    ]
    assert rows[0].cosines[0] == 1


def test_some_are_spread_over_all():
    rows = [*range(10)]
    assert some_of(rows, 4) == [0, 3, 6, 9]
    assert some_of(rows, 20) == rows
