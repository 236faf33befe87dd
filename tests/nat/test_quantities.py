import pytest

from nat.errors import InputError
from nat.options import TransferOptions
from nat.quantities import read_amount, read_seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("15M", 15_000_000), ("2.5m", 2_500_000), ("500k", 500_000), ("1G", 10**9), ("1B", 10**9),
     ("12,345,678", 12_345_678),
     ("1_000", 1000), (" 7 ", 7), ("1e6", 10**6)],
)  # fmt: skip
def test_amounts_are_read(text: str, value: int) -> None:
    assert read_amount(text) == value


@pytest.mark.parametrize("text", ["", "M", "abc", "0", "-1", "-5M", "0.2", "1e999", "nan", "inf", "5 X", "5MB"])
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 30M"):
        read_amount(text)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), (" 1.5H ", 5400)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert read_seconds(text) == seconds
    assert TransferOptions(data="digits", time=text, evaluation_limit=text).evaluation_limit == seconds


@pytest.mark.parametrize("text", ["", "m", "0s", "-3m", "soon", "nan", "inf", "3d"])
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 30m or 2h"):
        read_seconds(text)
