"""Exact moments: count, mean and standard deviation that do not depend on the order of the rows or on how shards are merged.

Theory of operation
-------------------
A sum of doubles that is rounded at every step depends on the order of its rows, and a sum of squares loses in the difference
n Σx² − (Σx)² about twice the digits of mean/sigma. Here nothing is rounded before the end. A double is an integer m < 2⁵³
times a power of two; m and m² are cut into digits of 30 bits at places that are the same for all numbers (a fixed grid of
powers of 2³⁰), and each place has a 64-bit integer that the digits are added to. Integer addition is associative and
commutative: **the same rows give the same bits in any order, in any batches, merged from any shards in any order.** Only when
a mean or a standard deviation is read are carries resolved, n Σx² − (Σx)² formed in integers, and the result rounded once.

The places kept are a window below the largest magnitude seen: 4 for Σx, 6 for Σx². Nothing is lost while the magnitudes
are within a factor 2¹⁵ of each other, as for any one characteristic. Of a smaller value, what lies below 2⁻⁸⁰ of the largest
value is left out of Σx, and below 2⁻¹⁴⁰ of its square out of Σx²: the same whatever the order, because a place in the last
window was in every window before it. Such data have a standard deviation near their largest magnitude, so that what is left
out is far below its last digit.

What cannot be had: digits that are not in the data. NIST's NumAcc3 has 1000000.1, whose nearest double is off by 2e-11, so that
the standard deviation of the doubles agrees with the certified 0.1 to 9.5 digits; this module gives that of the doubles.

State of a series is one int64 row of `SUMS`: the level of the window, 4 places of Σx, 6 of Σx². At most ROWS_MAX rows.
`TOTAL` is the same for a plain sum (of moving ranges, of squares within subgroups): its level, then 4 places.

Reference: Kulisch, Computer Arithmetic and Validity (de Gruyter 2008), on long accumulators; Demmel and Nguyen, IEEE
Transactions on Computers 64 (2015) 2060, on windows that make a sum reproducible; NIST StRD, univariate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from models.detector import Column
from models.judging import as_values
from models.kernel import frozen, kernel

SUMS = Column("i8", (11,))
"""State column: Σx and Σx² of a series."""
TOTAL = Column("i8", (5,))
"""State column: a plain sum of a series."""
ROWS_MAX = 1 << 31  # of one series; a place has 63 bits, a digit 30, and a square puts two digits in a place

_DIGIT = 30
_MASK = (1 << _DIGIT) - 1
_RADIX = float(1 << _DIGIT)
_FRACTION = (1 << 52) - 1
_HALF = (1 << 27) - 1
_SPLIT = float((1 << 27) + 1)
_SQUARE_LOW = (1 << 54) - 1
_LEAST_EXPONENT = -1074  # of a double's last bit


@kernel
def _whole(x: float) -> tuple[int, int, int]:
    """Return (sign, m, place) of a finite x = sign · m · 2^(place − 1074), m < 2⁵³."""
    bits = int(np.float64(x).view(np.int64))
    sign = -1 if bits < 0 else 1
    exponent = (bits >> 52) & 2047
    m = bits & _FRACTION
    if exponent > 0:
        return sign, m + _FRACTION + 1, exponent - 1
    return sign, m, 0


@kernel
def _lower(sums: np.ndarray, s: int, first: int, places: int, by: int) -> None:
    """Move the window `by` places up: the lowest places are dropped, new ones at the top are 0."""
    for j in range(places):
        sums[s, first + j] = sums[s, first + j + by] if j + by < places else 0


@kernel
def _deposit(sums: np.ndarray, s: int, first: int, place: int, shift: int, m: int, sign: int) -> None:
    """Add sign · m · 2^(30 place + shift), m < 2⁵⁵, to the places from column `first` on; below the first is dropped."""
    low = (m & _MASK) << shift
    high = ((m >> _DIGIT) << shift) + (low >> _DIGIT)
    if place >= 0:
        sums[s, first + place] += sign * (low & _MASK)
    if place >= -1:
        sums[s, first + place + 1] += sign * (high & _MASK)
    if place >= -2:
        sums[s, first + place + 2] += sign * (high >> _DIGIT)


@kernel
def raise_level(sums: np.ndarray, s: int, level: int) -> None:
    """Move the windows of SUMS up to `level`, if they are lower."""
    now = int(sums[s, 0])
    if level > now:
        _lower(sums, s, 1, 4, level // 2 - now // 2)
        _lower(sums, s, 5, 6, level - now)
        sums[s, 0] = level


@kernel
def add(sums: np.ndarray, s: int, x: float) -> None:
    """Add a finite x to the sums (SUMS) of series `s`. The number of rows is kept by the caller."""
    sign, m, place = _whole(x)
    level = place // 15  # the square of the last bit is at 2 place, so in place 2 place // 30
    if level > sums[s, 0]:
        raise_level(sums, s, level)
    top = int(sums[s, 0])
    at = level // 2
    _deposit(sums, s, 1, at - top // 2 + 1, place - _DIGIT * at, m, sign)
    a, b = m >> 27, m & _HALF
    low = b * b + ((2 * a * b & _HALF) << 27)
    high = a * a + (2 * a * b >> 27) + (low >> 54)
    at, shift = level - top + 1, 2 * place - _DIGIT * level
    _deposit(sums, s, 5, at, shift, low & _SQUARE_LOW, 1)
    _deposit(sums, s, 5, at + (shift + 54) // _DIGIT, (shift + 54) % _DIGIT, high, 1)


@kernel
def _carried(p0: int, p1: int, p2: int, p3: int) -> tuple[int, int, int, int]:
    """Resolve carries: digits of 30 bits, the last one what is over, with the sign of the whole."""
    p1 += p0 >> _DIGIT
    p2 += p1 >> _DIGIT
    p3 += p2 >> _DIGIT
    return p0 & _MASK, p1 & _MASK, p2 & _MASK, p3


@kernel
def _magnitude(sums: np.ndarray, s: int) -> tuple[float, int, int, int, int]:
    """Return sign and digits of the four places from column 1 on."""
    a0, a1, a2, a3 = _carried(int(sums[s, 1]), int(sums[s, 2]), int(sums[s, 3]), int(sums[s, 4]))
    if a3 >= 0:
        return 1.0, a0, a1, a2, a3
    a0, a1, a2, a3 = _carried(-int(sums[s, 1]), -int(sums[s, 2]), -int(sums[s, 3]), -int(sums[s, 4]))
    return -1.0, a0, a1, a2, a3


@kernel
def _rounded(a0: int, a1: int, a2: int, a3: int) -> float:
    """Return the number of these digits, rounded from below: only the last addition loses more than a trace."""
    return ((a0 + a1 * _RADIX) + a2 * (_RADIX * _RADIX)) + a3 * (_RADIX * _RADIX * _RADIX)


@kernel
def _quotient(a0: int, a1: int, a2: int, a3: int, n: int) -> float:
    """Return the number of these digits over n: the mean of equal rows is their value.

    Digits to a pair of doubles by error-free additions, and one step of correction with Dekker's exact product.
    """
    d1, d2, d3 = a1 * _RADIX, a2 * (_RADIX * _RADIX), a3 * (_RADIX * _RADIX * _RADIX)
    s1 = d1 + a0
    s2 = d2 + s1
    s3 = d3 + s2
    rest = (s2 - (s3 - d3)) + ((s1 - (s2 - d2)) + (a0 - (s1 - d1)))
    q = s3 / n
    q_high = q * _SPLIT - (q * _SPLIT - q)
    n_high = n * _SPLIT - (n * _SPLIT - n)
    q_low, n_low = q - q_high, n - n_high
    product = q * n
    error = ((q_high * n_high - product) + q_high * n_low + q_low * n_high) + q_low * n_low
    return q + (((s3 - product) - error) + rest) / n


@kernel
def mean_and_deviation(sums: np.ndarray, s: int, n: int) -> tuple[float, float]:
    """Return mean and standard deviation (n − 1) of the n rows of series `s`; NaN where there are too few.

    Both are within 1 unit of the last bit. Equal rows have their value as mean, and a deviation of exactly 0.
    """
    if n < 1:
        return np.nan, np.nan
    level = int(sums[s, 0])
    unit = _DIGIT * (level // 2 - 1) + _LEAST_EXPONENT
    sign, a0, a1, a2, a3 = _magnitude(sums, s)
    mean = sign * math.ldexp(_quotient(a0, a1, a2, a3, n), unit)
    if n < 2:
        return mean, np.nan
    a4, a3 = a3 >> _DIGIT, a3 & _MASK
    b0, b1, b2, b3 = _carried(int(sums[s, 5]), int(sums[s, 6]), int(sums[s, 7]), int(sums[s, 8]))
    b4 = int(sums[s, 9]) + (b3 >> _DIGIT)
    b5 = int(sums[s, 10]) + (b4 >> _DIGIT)
    b3, b4, b5, b6 = b3 & _MASK, b4 & _MASK, b5 & _MASK, b5 >> _DIGIT
    v0, v1 = -a0 * a0, -2 * a0 * a1
    v2 = -2 * a0 * a2 - a1 * a1
    v3 = -2 * (a0 * a3 + a1 * a2)
    v4 = -2 * (a0 * a4 + a1 * a3) - a2 * a2
    v5 = -2 * (a1 * a4 + a2 * a3)
    v6 = -2 * a2 * a4 - a3 * a3
    v7, v8 = -2 * a3 * a4, -a4 * a4
    if level % 2 == 0:  # the lowest place of Σx² is one above that of (Σx)², or two
        v1, v2, v3, v4, v5, v6, v7 = (
            v1 + n * b0, v2 + n * b1, v3 + n * b2, v4 + n * b3, v5 + n * b4, v6 + n * b5, v7 + n * b6,
        )  # fmt: skip
    else:
        v2, v3, v4, v5, v6, v7, v8 = (
            v2 + n * b0, v3 + n * b1, v4 + n * b2, v5 + n * b3, v6 + n * b4, v7 + n * b5, v8 + n * b6,
        )  # fmt: skip
    v0, v1, v2, v3 = _carried(v0, v1, v2, v3)
    v3, v4, v5, v6 = _carried(v3, v4, v5, v6)
    v5, v6, v7, v8 = _carried(v5, v6, v7, v8)
    radix_3 = _RADIX * _RADIX * _RADIX
    squares = (_rounded(v0, v1, v2, v3) + _rounded(v4, v5, v6, v7) * (radix_3 * _RADIX)) + v8 * (
        radix_3 * radix_3 * _RADIX * _RADIX
    )
    return mean, math.ldexp(math.sqrt(squares / (float(n) * (n - 1.0))), unit)


@kernel
def add_to_total(total: np.ndarray, s: int, x: float) -> None:
    """Add a finite x to the plain sum (TOTAL) of series `s`."""
    sign, m, place = _whole(x)
    at = place // _DIGIT
    if at > total[s, 0]:
        _lower(total, s, 1, 4, at - int(total[s, 0]))
        total[s, 0] = at
    _deposit(total, s, 1, at - int(total[s, 0]) + 1, place - _DIGIT * at, m, sign)


@kernel
def total_of(total: np.ndarray, s: int) -> float:
    """Return the plain sum of series `s`, rounded once."""
    sign, a0, a1, a2, a3 = _magnitude(total, s)
    return sign * math.ldexp(_rounded(a0, a1, a2, a3), _DIGIT * (int(total[s, 0]) - 1) + _LEAST_EXPONENT)


@kernel
def merge_sums(into: np.ndarray, s: int, other: np.ndarray, t: int) -> None:
    """Add the sums (SUMS) of series `t` of `other` to those of series `s` of `into`."""
    level = max(int(into[s, 0]), int(other[t, 0]))
    raise_level(into, s, level)
    by = level // 2 - int(other[t, 0]) // 2
    for j in range(by, 4):
        into[s, 1 + j - by] += other[t, 1 + j]
    by = level - int(other[t, 0])
    for j in range(by, 6):
        into[s, 5 + j - by] += other[t, 5 + j]


@kernel
def merge_totals(into: np.ndarray, s: int, other: np.ndarray, t: int) -> None:
    """Add the plain sum (TOTAL) of series `t` of `other` to that of series `s` of `into`."""
    level = max(int(into[s, 0]), int(other[t, 0]))
    _lower(into, s, 1, 4, level - int(into[s, 0]))
    into[s, 0] = level
    by = level - int(other[t, 0])
    for j in range(by, 4):
        into[s, 1 + j - by] += other[t, 1 + j]


@kernel
def _add_all(sums: np.ndarray, value: np.ndarray) -> tuple[int, float, float]:
    rows, least, most = 0, np.inf, -np.inf
    for x in value:
        if abs(x) < np.inf:
            rows += 1
            least, most = min(least, x), max(most, x)
            add(sums, 0, x)
    return rows, least, most


@dataclass(frozen=True)
class Moments:
    """Moments of values that were seen in any order: add batches, merge shards. Equal data give equal objects.

    NaN, infinities and masked values are left out. More than ROWS_MAX rows raise OverflowError.

    >>> a, b = Moments.of([10000001.0, 10000003.0]), Moments.of([10000002.0])  # NIST StRD NumAcc1
    >>> a.merged(b) == b.merged(a) == Moments.of([10000002.0, 10000001.0, 10000003.0])
    True
    >>> a.merged(b).mean, a.merged(b).deviation
    (10000002.0, 1.0)
    """

    rows: int = 0
    least: float = math.inf
    most: float = -math.inf
    sums: tuple[int, ...] = (0,) * SUMS.shape[0]

    @classmethod
    def of(cls, values: np.ndarray | Iterable[float]) -> Moments:
        """Return the moments of some values."""
        return cls().added(values)

    def _columns(self) -> np.ndarray:
        return np.array([self.sums], np.int64)

    def _made(self, rows: int, least: float, most: float, sums: np.ndarray) -> Moments:
        if self.rows + rows > ROWS_MAX:
            raise OverflowError(f"{self.rows + rows} rows: moments hold at most {ROWS_MAX}")
        return Moments(self.rows + rows, min(self.least, least), max(self.most, most), tuple(sums[0].tolist()))

    def added(self, values: np.ndarray | Iterable[float]) -> Moments:
        """Return the moments with these values as well."""
        array = frozen(as_values(values if isinstance(values, np.ndarray) else list(values)), np.float64)
        sums = self._columns()
        rows, least, most = _add_all(sums, array.reshape(-1))
        return self._made(int(rows), float(least), float(most), sums)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of the rows of both."""
        sums = self._columns()
        merge_sums(sums, 0, other._columns(), 0)
        return self._made(other.rows, other.least, other.most, sums)

    @property
    def mean(self) -> float:
        """Mean of the values, NaN if there are none."""
        return float(mean_and_deviation(self._columns(), 0, self.rows)[0])

    @property
    def deviation(self) -> float:
        """Sample standard deviation (n − 1) of the values, NaN if there are fewer than two."""
        return float(mean_and_deviation(self._columns(), 0, self.rows)[1])
