#!/usr/bin/env python3
"""Folders for `taraz replay` whose true energy is known, and how near the replay comes to it.

    python3 -m venv /tmp/vectors && /tmp/vectors/bin/pip install numpy pandas
    /tmp/vectors/bin/python tests/python/replay_bench.py --taraz target/release/taraz --seeds 1 8

Each seed makes twelve plants over 60 days in the shape of a recorded bench (plants.csv, register_wh.csv.gz, late.csv.gz), one fault each:
none, a reset, a standstill that catches up, dips, spikes, a roll-over, late data out of order, a gap, 5 % lost at random, silent nights,
a reset within a gap, two resets with repeated late data. It ends with 1 when a plant's energy is off by more than 0.1 % (a roll-over may lose a quarter-hour more: nothing in the folder says
where a register ends), when a flag that the fault demands is missing, or when a plant without a fault has one. Nothing here calls
Taraz but the replay itself.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd

DAYS, QUARTERS = 60, 96
OFF_PCT_MAX = 0.1
# Each fault and the flag that must stand beside it; None: no flag at all may stand there.
FAULTS = [("none", None), ("reset", "reset"), ("stuck", "caught_up"), ("dips", "glitch"), ("spikes", "glitch"),
          ("roll_over", "reset"), ("late", None), ("gap", "spread"), ("lost", "spread"), ("nights", "spread"),
          ("reset_in_gap", "reset"), ("two_resets", "reset")]


def energy(rng, rated_kw, peak_kw):
    """Wh of each quarter-hour."""
    hour = (np.arange(DAYS * QUARTERS) % QUARTERS + 0.5) / 4
    clear = np.clip(np.sin((hour - 5.5) / 13 * np.pi), 0, None) * ((hour > 5.5) & (hour < 18.5))
    cloud = np.repeat(rng.uniform(0.2, 1, DAYS), QUARTERS) * rng.uniform(0.5, 1, len(hour))
    return np.floor(np.minimum(peak_kw * clear * cloud * 1.05, rated_kw) * 250).astype(np.int64)


def faulty(rng, fault, made, times):
    """What the register showed, what of it did not arrive in time, and what came late."""
    count = len(made)
    shown = int(rng.integers(0, 9_000_000)) + np.cumsum(made)
    absent, late = np.zeros(count, bool), []
    noon = int(rng.integers(5, DAYS - 10)) * QUARTERS + int(rng.integers(35, 60))

    def restart(at):
        shown[at:] -= shown[at - 1]

    def some():
        return int(rng.integers(100, count - 200))

    if fault == "reset":
        restart(noon)
    elif fault == "stuck":
        # From the morning to the afternoon: one quarter-hour of full power does not explain the rise at its end.
        morning = noon - noon % QUARTERS + 34
        shown[morning:morning + int(rng.integers(24, 36))] = shown[morning - 1]
    elif fault == "dips":
        for at in (some() for _ in range(6)):
            shown[at:at + int(rng.integers(1, 3))] = 0
    elif fault == "spikes":
        for at in (some() for _ in range(4)):
            shown[at] += int(rng.integers(10_000_000, 400_000_000))
    elif fault == "roll_over":
        # The folder does not say where a register ends, so this is a reset: what it holds since then is the least that was counted.
        modulus = int(rng.choice([10**9, 2**32]))
        shown = (shown + modulus - int(shown[noon])) % modulus
    elif fault == "late":
        silent = np.arange(noon, min(noon + int(rng.integers(20, 300)), count - 100))
        absent[silent] = True
        received = times[min(silent[-1] + int(rng.integers(1, 80)), count - 1)]
        late = [(times[at], received, int(shown[at])) for at in rng.permutation(silent)]
    elif fault == "gap":
        absent[noon:noon + int(rng.integers(20, 200))] = True
    elif fault == "lost":
        absent[1:-1] = rng.random(count - 2) < 0.05
    elif fault == "nights":
        absent |= made == 0
    elif fault == "reset_in_gap":
        night = noon - noon % QUARTERS + 10
        restart(night)
        absent[night - 8:night + 8] = True
    elif fault == "two_resets":
        first = int(rng.integers(500, count - 1500))
        restart(first)
        restart(first + 700)
        late = [(times[at], times[at + 40], int(shown[at])) for at in range(100, 140)]
    return shown, absent, late


def write(folder, seed):
    """Makes the folder and tells the true Wh of each plant's quarter-hours."""
    rng = np.random.default_rng(seed)
    times = pd.date_range("2025-03-20T20:45Z", periods=DAYS * QUARTERS, freq="15min").strftime("%Y-%m-%dT%H:%MZ")
    registers, late, plants, truth = {"ts_utc": times}, [], [], {}
    for number, (fault, _) in enumerate(FAULTS):
        plant, peak_kw = f"p{number:02}", float(rng.choice([3, 5, 10, 30, 100, 500]))
        rated_kw = round(peak_kw * 0.9, 3)
        made = energy(rng, rated_kw, peak_kw)
        shown, absent, afterwards = faulty(rng, fault, made, times)
        registers[plant] = ["" if gone else str(value) for gone, value in zip(absent, shown)]
        late += [(plant, *row) for row in afterwards]
        plants.append((plant, peak_kw, rated_kw))
        truth[plant] = made[1:]
    pd.DataFrame(registers).to_csv(folder / "register_wh.csv.gz", index=False)
    pd.DataFrame(plants, columns=["plant", "p0_kw", "pac_kw"]).to_csv(folder / "plants.csv", index=False)
    columns = ["plant", "ts_utc", "received_utc", "register_wh"]
    pd.DataFrame(late, columns=columns).to_csv(folder / "late.csv.gz", index=False)
    return truth


def judge(taraz, seed):
    """How many plants are wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        truth = write(folder, seed)
        subprocess.run([taraz, "replay", str(folder), "--out", str(folder / "out")], check=True)
        days = pd.read_csv(folder / "out" / "energy.csv", keep_default_na=False)
    wrong = 0
    for (fault, demanded), (plant, made) in zip(FAULTS, truth.items()):
        true_wh = int(made.sum())
        own = days[days["plant"] == plant]
        off_pct = (pd.to_numeric(own["energy_wh"]).sum() / true_wh - 1) * 100
        flags = set("|".join(own["flags"]).split("|")) - {""}
        completeness = own["completeness"].astype(float)
        is_sane = (demanded in flags if demanded else not flags) and completeness.between(0, 1).all()
        # A register that rolled over is known to hold the least: what the last quarter-hour before had still counted is lost.
        lost_pct = int(made.max()) / true_wh * 100 if fault == "roll_over" else 0
        is_wrong = not -OFF_PCT_MAX - lost_pct <= off_pct <= OFF_PCT_MAX or not is_sane
        wrong += is_wrong
        mark = "WRONG" if is_wrong else "ok"
        print(f"seed {seed} {plant} {fault:13} {off_pct:+.4f} % {completeness.mean():.3f} {' '.join(sorted(flags)):24} {mark}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taraz", required=True, help="the program")
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 8), metavar=("FIRST", "END"))
    args = parser.parse_args()
    wrong = sum(judge(args.taraz, seed) for seed in range(*args.seeds))
    print(f"{wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
