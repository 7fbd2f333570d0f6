"""Numbers to two or three significant digits, as keys of sparse histograms: in SQL where rows are counted, and back.

A key is 1000 times the power of ten, plus three digits. It holds for values from a millionth on; below is zero. Pure.
"""

SMALLEST = 6  # digits after the point


def time_key(value: str) -> str:
    """The SQL that rounds a time in milliseconds; null for what no clock gives."""
    power = f"floor(log(abs({value})))"
    digits = f"round(abs({value}) * power(10, 2 - {power}))"
    return (
        f"(CASE WHEN abs({value}) < 1e-6 THEN 0 WHEN abs({value}) < 1e15 "
        f"THEN sign({value}) * (1000 * ({power} + {SMALLEST}) + {digits}) END)::bigint"
    )


def confidence_key(value: str) -> str:
    """The SQL that rounds what a confidence lacks to 1 to two digits, upwards: the confidence reaches what it says."""
    doubt = f"greatest(1 - {value}, 1e-6)"
    power = f"floor(log({doubt}))"
    digits = f"10 * ceil({doubt} * power(10, 1 - {power}) - 1e-9)"
    # The billionth is for what is 0.1 but for its last bit; a confidence that it would put too high goes one further.
    exact = f"{digits} + 10 * (1 - {digits} / power(10, 2 - {power}) > {value})::int"
    return f"(CASE WHEN {value} >= 1 THEN 0 ELSE 1000 * ({power} + {SMALLEST}) + {exact} END)::bigint"


def number(key: str) -> float:
    """The rounded number of a key."""
    whole = int(key)
    if whole < 0:
        return -number(str(-whole))
    power, digits = divmod(whole - 1, 1000)
    return float(f"{digits + 1}e{power - SMALLEST - 2}") if whole else 0.0
