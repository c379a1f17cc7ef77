"""Tables as text."""

from netspec.columns import aligned


def test_cells_stand_in_columns() -> None:
    """Every column is as wide as its widest cell; no line ends in spaces."""
    rows = [("layer", "ms", "bound by"), ("a", "10.5", ""), ("relu12", "3", "copies")]
    assert list(aligned(rows, right=[1])) == ["layer     ms  bound by", "a       10.5", "relu12     3  copies"]
    assert next(aligned(rows)) == "layer   ms    bound by"
