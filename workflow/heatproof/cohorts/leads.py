"""Leads of an ECG: names, order, units, sampling rates, and what shows that one of them is not what it is called."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from heatproof.errors import ConfigError, IntakeError

STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# How many of a unit are one mV.
PER_MILLIVOLT = {"mv": 1.0, "uv": 1e3, "\u00b5v": 1e3, "\u03bcv": 1e3, "v": 1e-3, "nv": 1e6}
# No lead of the body's surface has more than this between its peaks; more is a wrong unit.
LARGEST_MILLIVOLTS = 50.0
# Weights of leads I and II in the four others of the limbs (Einthoven 1913, Goldberger 1942).
LIMB_LEADS = {"iii": (-1.0, 1.0), "avr": (-0.5, -0.5), "avl": (1.0, -0.5), "avf": (-0.5, 1.0)}
# Share of a limb lead's standard deviation that rounding and filters may put beside Einthoven's law.
LIMB_TOLERANCE = 0.1
# Largest factor of the fraction between two sampling rates.
LARGEST_FACTOR = 1000


def places_of(wanted: Sequence[str], found: Sequence[str], file: str) -> list[int]:
    """Return where each wanted lead stands among those of a file; case and blanks do not count.

    Parameters
    ----------
    wanted, found : sequence of str
        Names in the order of the cohort and in that of the file. ``#2`` is the second lead, whatever its name.
    file : str
        For the message.

    Raises
    ------
    IntakeError
        If a wanted lead is missing, or two leads of the file share its name.
    """
    names = [name.strip().casefold() for name in found]
    keys = [name.strip().casefold() for name in wanted]
    numbered = {f"#{number}": number - 1 for number in range(1, len(names) + 1)}
    twice = [name for name, key in zip(wanted, keys, strict=True) if names.count(key) > 1]
    if twice:
        raise IntakeError(
            f"the leads {', '.join(twice)} are there more than once.",
            file=file,
            field="leads",
            remedy="find out which one is meant, and name the others otherwise",
        )
    missing = [name for name, key in zip(wanted, keys, strict=True) if key not in names and key not in numbered]
    if missing:
        raise IntakeError(
            f"the leads {', '.join(missing)} are missing; there are {', '.join(found)}.",
            file=file,
            field="leads",
            remedy="list only leads that every record has, by these names or as #1, #2 ...",
        )
    return [names.index(key) if key in names else numbered[key] for key in keys]


def per_millivolt(unit: str, file: str) -> float:
    """Return how many of a unit are one mV.

    Raises
    ------
    IntakeError
        If it is no unit of voltage.
    """
    key = unit.strip().casefold()
    if key not in PER_MILLIVOLT:
        raise IntakeError(
            f"'{unit}' is no unit of voltage.", file=file, field="units", remedy="give the signals in mV or uV"
        )
    return PER_MILLIVOLT[key]


def check_lead_names(leads: Sequence[str]) -> None:
    """Raise a ConfigError if two leads of the configuration have one name."""
    keys = [name.strip().casefold() for name in leads]
    if len(set(keys)) < len(keys):
        raise ConfigError("a lead is listed twice.", field="cohort.leads", remedy="name each lead once.")


def check_signal(signal: np.ndarray, leads: Sequence[str], file: str, limb_tolerance: float | None) -> None:
    """Raise an IntakeError if values are missing, a lead is flat, or units or names of leads cannot be right.

    Parameters
    ----------
    signal : ndarray, shape (leads, n_samples)
        In mV.
    leads : sequence of str
        Names of the leads.
    file : str
        For the message.
    limb_tolerance : float or None
        Largest standard deviation of a limb lead from what I and II say of it (III = II - I, aVR = -(I + II) / 2,
        aVL = I - II / 2, aVF = II - I / 2), as a share of its own (or, where it is small, of the larger of I's and
        II's). Leads that are exchanged or scaled one by one go beyond it. None leaves the check out.
    """
    finite = np.isfinite(signal).all(axis=1)
    if not finite.all():
        raise _refused(leads, ~finite, "have values that are NaN or infinite", file, "values", "mend the recording")
    ranges = np.ptp(signal, axis=1)
    if not ranges.all():
        raise _refused(leads, ranges == 0, "are flat", file, "values", "leave the recording out")
    if ranges.max() > LARGEST_MILLIVOLTS:
        raise IntakeError(
            f"{leads[int(ranges.argmax())]} has {ranges.max():.4g} mV between its peaks.",
            file=file,
            field="units",
            remedy="correct the unit or the gain; these values are rather uV",
        )
    if limb_tolerance is not None:
        _require_limb_leads(signal, leads, file, limb_tolerance)


def resampled(signal: np.ndarray, rate: float, wanted: float) -> np.ndarray:
    """Return a signal (leads, n_samples) at another sampling rate, filtered against aliasing.

    Raises
    ------
    ConfigError
        If the rates are in no simple ratio.
    """
    if rate == wanted:
        return signal
    from scipy.signal import resample_poly

    ratio = Fraction(wanted).limit_denominator(LARGEST_FACTOR) / Fraction(rate).limit_denominator(LARGEST_FACTOR)
    if max(ratio.numerator, ratio.denominator) > LARGEST_FACTOR:
        raise ConfigError(
            f"{rate:g} Hz cannot be brought to {wanted:g} Hz.",
            field="cohort.sampling_rate",
            remedy="choose a rate in a simple ratio to that of the recordings.",
        )
    # The ends are continued by the line between them, so that a signal far from zero does not ring there.
    return resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")


def check_rate(rate: float, wanted: float, resample: bool, file: str) -> list[tuple[str, str]]:
    """Return the note that a recording is resampled, or none; raise where it may not be.

    Raises
    ------
    IntakeError
        If the rates differ and `resample` is off.
    """
    if rate == wanted:
        return []
    if not resample:
        raise IntakeError(
            f"the recording has {rate:g} samples per second, the cohort {wanted:g}.",
            file=file,
            field="sampling_rate",
            remedy="set sampling_rate to it, or resample: true",
        )
    return [("sampling_rate", f"resampled from {rate:g} to {wanted:g} Hz")]


def _require_limb_leads(signal: np.ndarray, leads: Sequence[str], file: str, tolerance: float) -> None:
    of_lead = {name.strip().casefold(): values - values.mean() for name, values in zip(leads, signal, strict=True)}
    if "i" not in of_lead or "ii" not in of_lead:
        return
    one, two = of_lead["i"], of_lead["ii"]
    for name, (of_one, of_two) in LIMB_LEADS.items():
        if name in of_lead:
            scale = max(of_lead[name].std(), one.std() / 2, two.std() / 2)
            rest = (of_lead[name] - of_one * one - of_two * two).std() / scale
            if rest > tolerance:
                shown = next(lead for lead in leads if lead.strip().casefold() == name)
                raise IntakeError(
                    f"{shown} is not what I and II say it is (it differs by {rest:.0%}; Einthoven's law).",
                    file=file,
                    field="leads",
                    remedy="check names, order and gain of the leads, or set limb_tolerance to null",
                )


def _refused(leads: Sequence[str], which: np.ndarray, what: str, file: str, field: str, remedy: str) -> IntakeError:
    names = ", ".join(name for name, is_bad in zip(leads, which, strict=True) if is_bad)
    return IntakeError(f"the leads {names} {what}.", file=file, field=field, remedy=remedy)
