"""Numbers as people write them: multiply-adds, times, lists of sizes."""

from nat.errors import InputError


def read_amount(text: str) -> int:
    """A whole number with a suffix k, M or G: "15M" is 15,000,000.

    Raises:
        InputError: it is none, or not above 0.
    """
    factors = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
    word = text.strip().replace("_", "").replace(",", "")
    factor = factors.get(word[-1:].lower(), 1)
    try:
        value = round(float(word[:-1] if factor > 1 else word) * factor)
    except (ValueError, OverflowError):
        value = 0
    if value <= 0:
        raise InputError(f"expected a number above 0 such as 30M or 500k, got '{text}'.")
    return value


def read_seconds(text: str) -> float:
    """A time in seconds, or with a suffix s, m or h: "30m" is 1,800.

    Raises:
        InputError: it is none, or not above 0.
    """
    factors = {"s": 1, "m": 60, "h": 3600}
    word = text.strip().lower()
    factor = factors.get(word[-1:], 0)
    try:
        value = float(word[:-1] if factor else word) * (factor or 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise InputError(f"expected a time such as 90s, 30m or 2h, got '{text}'.")
    return value


def read_sizes(text: str) -> list[int]:
    """Whole numbers with commas between: "64,96,128".

    Raises:
        InputError: a word is no whole number.
    """
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(f"expected whole numbers such as 64,96,128, got '{text}'.") from error
