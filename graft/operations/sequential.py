"""Sequential tests: how much counts say for or against a limit, however often somebody has looked at them.

A promotion looks every few seconds and moves at the first look that suits it. Bounds for one look (Clopper-Pearson,
Wilson) are wrong then: of routes that stand exactly at their gate, half would get through one day. What is computed
here is an e-value: the likelihood of what was seen under rates beyond the limit, averaged over all of them, over its
likelihood at the limit. While the truth is on the near side of the limit its mean is at most 1 at every moment, and the
chance that it ever reaches 1/a, looked at as often as you like, is at most a (Ville's inequality). Values here are
logarithms of it. It depends on the counts alone: no look has to be remembered.

Sources: Ville 1939; Robbins 1970, "Statistical methods related to the law of the iterated logarithm", for the mixture;
Howard, Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences"; Ramdas,
Grünwald, Vovk, Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference". The mixture is Jeffreys'
prior, Beta(1/2, 1/2), cut off at the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-300
_FAR = (8, 9, 10, 12, 14, 17, 20, 25, 30, 40, 60, 100)
_STEPS = (*(-step for step in reversed(_FAR)), *(step / 4 for step in range(-31, 32)), *_FAR)
"""How far, in standard errors, a rate that is not known is looked for around its estimate. (To both sides: where it is
looked for in one step only, there is a most that the evidence can be, and the less the more was counted.)"""

NEAR = 1.5
"""Where the rates of two sides are compared with a margin: so many margins from the limit stakes are laid."""


def below(hits: float, trials: float, limit: float, least: float = 0.0) -> float:
    """The evidence that a thing which happened in ``hits`` of ``trials`` happens less often than ``limit`` (0 to 1).

    ``least`` is the lowest rate that is laid a stake on: where the true one is likely to be near the limit if it is
    below it, what is not staked elsewhere is there.
    """
    if limit <= 0 or trials <= 0:
        return 0.0
    if limit >= 1:
        return math.inf
    prior = math.log(2 * (math.asin(math.sqrt(limit)) - math.asin(math.sqrt(max(least, 0.0)))))
    a, b = hits + 0.5, trials - hits + 0.5
    at_limit = hits * math.log(limit) + (trials - hits) * math.log1p(-limit)
    return _between(a, b, max(least, 0.0), limit) - prior - at_limit


def above(hits: float, trials: float, limit: float, most: float = 1.0) -> float:
    """The evidence that it happens more often than ``limit``; ``most`` is the highest rate that is laid a stake on."""
    return below(trials - hits, trials, 1 - limit, 1 - most)


def less_by(hits: float, trials: float, other_hits: float, other_trials: float, margin: float) -> float:
    """The evidence that the rate of ``hits`` of ``trials`` is below the other rate plus ``margin``.

    The other rate is not known. For each that it might be there is evidence of both sides, which multiplies; what holds
    is the least of them. Two sides of the same request are not independent, but there a slow or failing request is so
    on both, which makes the product smaller, not larger. Between two looked-for rates the lower value of each counts.
    It sees most where the other side has no fewer trials. The stakes are laid near by, where two equal rates are.
    """
    if not other_trials:
        return below(hits, trials, margin)
    near = NEAR * margin
    return _least(
        _rates(other_hits, other_trials, 1 - margin),
        lambda rate: below(hits, trials, rate + margin, rate + margin - near),
        lambda rate: hedged(above(other_hits, other_trials, rate, min(rate + near, 1.0))),
    )


def more_by(hits: float, trials: float, other_hits: float, other_trials: float, margin: float) -> float:
    """The evidence that the rate of ``hits`` of ``trials`` is above the other rate plus ``margin``."""
    most = above(hits, trials, margin)  # as if the other rate were nothing
    if not other_trials or most <= 0:
        return most
    return _least(
        [-rate for rate in reversed(_rates(other_hits, other_trials, 1 - margin))],
        lambda rate: above(hits, trials, margin - rate),
        lambda rate: hedged(below(other_hits, other_trials, -rate)),
    )


def bound_below(hits: float, trials: float, evidence: float) -> float:
    """The lowest limit that the rate is surely below: ``below`` of it reaches ``evidence``."""
    low, high = (hits / trials if trials else 0.0), 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if below(hits, trials, middle) >= evidence:
            high = middle
        else:
            low = middle
    return high


def _rates(hits: float, trials: float, most: float) -> list[float]:
    """Rates from 0 to ``most``, close together where the true one is likely to be."""
    estimate = (hits + 0.5) / (trials + 1)
    error = math.sqrt(estimate * (1 - estimate) / trials)
    near = {min(max(estimate + step * error, 0.0), most) for step in _STEPS}
    return sorted({0.0, most} | near)


def _least(points: list[float], rising: Callable[[float], float], falling: Callable[[float], float]) -> float:
    """The least of ``rising + falling`` anywhere between the points, or less."""
    ups, downs = [rising(point) for point in points], [falling(point) for point in points]
    return min(up + down for up, down in zip(ups, downs[1:], strict=False)) if len(points) > 1 else ups[0] + downs[0]


def hedged(evidence: float) -> float:
    """Half of the stake is kept: what the second side can't show takes at most half of what the first one does."""
    return evidence - math.log(2) if evidence > 700 else math.log1p(math.exp(evidence)) - math.log(2)


def _between(a: float, b: float, low: float, high: float) -> float:
    """The logarithm of the integral of ``x**(a-1) * (1-x)**(b-1)`` from ``low`` to ``high``: of two tails on the same
    side of the mean, so that nothing is lost where both are small."""
    whole = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    mean = (a + 1) / (a + b + 2)
    if low <= 0:
        return _tail(a, b, high) if high < mean else _without(whole, _tail(b, a, 1 - high))
    if high < mean:
        return _without(_tail(a, b, high), _tail(a, b, low))
    if low >= mean:
        return _without(_tail(b, a, 1 - low), _tail(b, a, 1 - high))
    return _without(_without(whole, _tail(a, b, low)), _tail(b, a, 1 - high))


def _tail(a: float, b: float, x: float) -> float:
    """The logarithm of the integral from 0 to ``x``, which is below the mean."""
    return a * math.log(x) + b * math.log1p(-x) + math.log(_fraction(a, b, x) / a) if x > 0 else -math.inf


def _without(whole: float, part: float) -> float:
    """The logarithm of a difference."""
    return whole + math.log1p(-min(math.exp(part - whole), 1 - 1e-15))


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, which is ``x**a * (1 - x)**b / a`` times this (Numerical
    Recipes, 6.4; Lentz's method)."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    value = d
    for step in range(1, 20_000):
        twice = a + 2 * step
        term = step * (b - step) * x / ((twice - 1) * twice)
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        term = -(a + step) * (a + b + step) * x / (twice * (twice + 1))
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-10:
            break
    return value
