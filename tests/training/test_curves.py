"""The table of training curves."""

from training.curves import append_row, trim


def test_trim_drops_later_rows(tmp_path):
    """Trimming drops rows that will be computed again.

    Rows up to the checkpoint stay, later rows go.
    """
    path = tmp_path / "curves.csv"
    trim(path, 5)
    for step in (1, 2, 3):
        append_row(path, {"step": step, "corr": 0.5})
    trim(path, 2)
    assert path.read_text().split() == ["step,corr", "1,0.5", "2,0.5"]
