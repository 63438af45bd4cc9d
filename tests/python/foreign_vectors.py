#!/usr/bin/env python3
"""Reference vectors made by other people's programs, in the format that `taraz calc` reads and writes.

    python3 -m venv /tmp/vectors && /tmp/vectors/bin/pip install pvlib==0.16.1 jdatetime==6.1.1 numpy pandas tzdata
    /tmp/vectors/bin/python tests/python/foreign_vectors.py --out tests/data/vectors            # what is committed
    /tmp/vectors/bin/python tests/python/foreign_vectors.py --out /tmp/more --seed 7 --size 20  # other ones, more of them

pvlib states sun, sky, plane, cell and power; jdatetime and zoneinfo (tzdata's data) the calendar; NumPy the phases by their
matrix; IEC 61724-1 and the imbalances are plain sums over pandas columns. Nothing here calls Taraz.
"""

import argparse
import datetime
import json
import pathlib
import zoneinfo

import jdatetime
import numpy as np
import pandas as pd
import pvlib

# Latitude, longitude, altitude in m, Linke turbidity.
PLACES = {
    "equator": (0.0, -78.45, 2850.0, 2.6),
    "quito_sea": (-0.02, 9.45, 0.0, 4.8),
    "tromso": (69.65, 18.96, 10.0, 2.1),
    "alice": (-23.7, 133.88, 546.0, 3.3),
    "ushuaia": (-54.8, -68.3, 23.0, 2.2),
    "lhasa": (29.65, 91.1, 3650.0, 2.0),
    "caspian": (36.9, 53.3, -26.0, 4.2),
    "zahedan": (29.5, 60.86, 1352.0, 5.5),
    "fiji": (-17.8, 178.0, 3.0, 3.9),
    "el_alto": (-16.5, -68.15, 4000.0, 1.8),
}
GAMMA, LOSSES, ETA = -0.004, 14.0757, 0.96


def decimals(frame, digits=6):
    return frame.map(lambda cell: cell if isinstance(cell, str) else ("" if pd.isna(cell) else f"{cell + 0.0:.{digits}f}"))


def instants(rng, lat, lon, alt, size):
    """Rises, noons and sets of days that matter, and any instant."""
    days = ["2024-02-29", "2024-12-31", "2025-06-21", "2023-12-22", "2028-02-29", "2025-03-20"]
    chosen = rng.choice(days, size=max(1, size // 3))
    found = []
    for day in chosen:
        # Where the day begins does not matter: a whole day of instants holds one rise and one set.
        minutes = pd.date_range(f"{day}T00:00Z", periods=1440, freq="min")
        high = 90 - pvlib.solarposition.spa_python(minutes, lat, lon, altitude=alt)["zenith"].to_numpy()
        crossing = np.nonzero(np.diff(np.sign(high)))[0]
        for index in crossing:
            # Just under, on and over the horizon.
            for seconds in (-240, -20, 40, 420):
                found.append(minutes[index] + pd.Timedelta(seconds=int(seconds)))
        found.append(minutes[int(np.argmax(high))] + pd.Timedelta(seconds=17))
    start = pd.Timestamp("2020-01-01T00:00Z").value // 10**9
    for offset in rng.integers(0, 10 * 365 * 86400, size=size):
        found.append(pd.Timestamp(int(start + offset), unit="s", tz="UTC"))
    return pd.DatetimeIndex(found)


def solar(rng, size):
    rows = []
    for name, (lat, lon, alt, tl) in PLACES.items():
        times = instants(rng, lat, lon, alt, size)
        pressure = 101325 * (1 - 2.25577e-5 * alt) ** 5.25588
        sun = pvlib.solarposition.spa_python(times, lat, lon, altitude=alt, pressure=pressure, temperature=12,
                                             delta_t=67.0, atmos_refract=0.5667)
        outside = pd.Series(pvlib.irradiance.get_extra_radiation(times, solar_constant=1366.1, method="spencer"), times)
        relative = pvlib.atmosphere.get_relative_airmass(sun["apparent_zenith"], model="kastenyoung1989")
        absolute = pvlib.atmosphere.get_absolute_airmass(relative, pressure)
        sky = pvlib.clearsky.ineichen(sun["apparent_zenith"], absolute, tl, altitude=alt, dni_extra=outside)
        hau = pvlib.clearsky.haurwitz(sun["apparent_zenith"])["ghi"]
        for index, time in enumerate(times):
            tilt = float(rng.choice([0, 5, 15, 30, 37.5, 60, 90]))
            faces = float(rng.choice([0, 45, 90, 135, 180, 225, 270, 315, 359.5]))
            air, wind = round(float(rng.uniform(-30, 48)), 1), round(float(rng.choice([0, rng.uniform(0, 20)])), 2)
            peak = float(rng.choice([5, 30, 100, 1000]))
            rated = round(peak * float(rng.choice([0.7, 0.9, 1.2])), 3)
            one = {c: sun[c].iloc[index] for c in ("zenith", "apparent_zenith", "elevation", "azimuth")}
            common = dict(surface_tilt=tilt, surface_azimuth=faces, solar_zenith=one["apparent_zenith"],
                          solar_azimuth=one["azimuth"], dni=sky["dni"].iloc[index], ghi=sky["ghi"].iloc[index],
                          dhi=sky["dhi"].iloc[index], albedo=0.2)
            iso = pvlib.irradiance.get_total_irradiance(model="isotropic", **common)["poa_global"]
            hay = pvlib.irradiance.get_total_irradiance(model="haydavies", dni_extra=outside.iloc[index],
                                                        **common)["poa_global"]
            faiman = pvlib.temperature.faiman(hay, air, wind, u0=25, u1=6.84)
            sapm = pvlib.temperature.sapm_cell(hay, air, wind, a=-3.47, b=-0.0594, deltaT=3)
            dc = pvlib.pvsystem.pvwatts_dc(hay, faiman, peak * 1000, GAMMA)
            net = dc * (1 - LOSSES / 100)
            ac = float(pvlib.inverter.pvwatts(np.array([net]), rated * 1000 / ETA, eta_inv_nom=ETA, eta_inv_ref=0.9637)[0])
            rows.append(dict(site=name, lat=lat, lon=lon, alt_m=alt, pressure_pa=pressure, tilt=tilt, surf_az=faces,
                             pdc0_kw=peak, pac0_kw=rated, tl=tl, ts_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
                             temp_air=air, wind=wind, **one,
                             equation_of_time_min=sun["equation_of_time"].iloc[index], dni_extra=outside.iloc[index],
                             am_rel=relative.iloc[index] if hasattr(relative, "iloc") else relative[index],
                             am_abs=absolute.iloc[index] if hasattr(absolute, "iloc") else absolute[index],
                             ghi_ineichen=common["ghi"], dni_ineichen=common["dni"], dhi_ineichen=common["dhi"],
                             ghi_haurwitz=hau.iloc[index],
                             aoi=pvlib.irradiance.aoi(tilt, faces, one["apparent_zenith"], one["azimuth"]),
                             poa_isotropic=iso, poa_haydavies=hay, tcell_faiman=faiman, tcell_sapm=sapm,
                             pdc_kw=dc / 1000, pdc_net_kw=net / 1000, pac_kw=ac / 1000))
    return decimals(pd.DataFrame(rows))


def phases(rng, size):
    a = np.exp(2j * np.pi / 3)
    fortescue = np.array([[1, 1, 1], [1, a, a * a], [1, a * a, a]]) / 3
    volts = [([230] * 3, [0, -120, 120]), ([0, 230, 230], [0, -120, 120]), ([230, 0, 0], [0, -120, 120]),
             ([0, 0, 0], [0, -120, 120]), ([230] * 3, [0, 120, -120]), ([230] * 3, [0, 0, 0]),
             ([230, 231, 229], [0, 240, 120]), ([230, 230, 230], [350, 230, 110]), ([0.5, 0.5, 1], [0, -120, 120]),
             ([20000 / 3**0.5, 11500, 11600], [0, -120.5, 119.2]), ([230, 115, 345], [0, -90, 90])]
    amps = [[10] * 3, [0, 0, 0], [10, 0, 0], [5, 5, 0], [0.01, 0, 0], [630, 631, 0.5], [3, 2, 1], [7, 7, 7.1],
            [1, 1, 1], [0, 12.5, 12.5], [100, 50, 25]]
    for _ in range(4 * size):
        volts.append((list(rng.uniform(180, 260, 3).round(1)), list((np.array([0, -120, 120]) + rng.normal(0, 4, 3)).round(2))))
        amps.append(list(rng.uniform(0, 60, 3).round(2)))
    rows = []
    for (v, ang), i in zip(volts, amps):
        v, ang, i = (np.array(one, float) for one in (v, ang, i))
        phasor = v * np.exp(1j * np.radians(ang))
        zero, positive, negative = np.abs(fortescue @ phasor)
        # Less than a millionth of the phases' voltage is rounding, not a component.
        none = positive <= 1e-6 * v.max() if v.max() > 0 else True
        line = np.abs(phasor - np.roll(phasor, -1))
        total = (line**2).sum()
        beta = (line**4).sum() / total**2 if total > 1e-12 * max(v.max(), 1) ** 2 else np.nan
        root = np.sqrt(np.clip(3 - 6 * beta, 0, None))
        mean_off = lambda x: np.abs(x - x.mean()).max() / x.mean() * 100 if x.mean() > 1e-9 * max(v.max(), 1) else np.nan
        rows.append(dict(v1=v[0], ang1=ang[0], v2=v[1], ang2=ang[1], v3=v[2], ang3=ang[2],
                         u12=line[0], u23=line[1], u31=line[2],
                         vuf_true_u2_pct=np.nan if none else negative / positive * 100,
                         vuf_iec61000_4_30_lines_pct=np.sqrt((1 - root) / (1 + root)) * 100,
                         nema_lvur_pct=mean_off(line), phase_pvur_pct=mean_off(v),
                         u0_pct=np.nan if none else zero / positive * 100, i1=i[0], i2=i[1], i3=i[2],
                         current_unbalance_pct=np.abs(i - i.mean()).max() / i.mean() * 100 if i.any() else np.nan,
                         neutral_current_a_pf1_120deg=abs((i * np.exp(1j * np.radians([0, -120, 120]))).sum())))
    return decimals(pd.DataFrame(rows))


def jalali(rng, size):
    tehran, utc = zoneinfo.ZoneInfo("Asia/Tehran"), datetime.timezone.utc
    days = set()
    for year in rng.choice(np.arange(1300, 1501), size=min(201, 6 * size), replace=False):
        year = int(year)
        leap = jdatetime.date(year, 1, 1).isleap()
        days |= {(year, 1, 1), (year, 12, 30 if leap else 29), (year, int(rng.integers(1, 7)), 31), (year, int(rng.integers(7, 12)), 30)}
    # Around every change of Tehran's clocks, and the leap years with five years to the next.
    for year in range(1356, 1402) if size > 5 else (1356, 1357, 1358, 1370, 1384, 1387, 1395, 1399, 1401):
        days |= {(year, 1, 1), (year, 1, 2), (year, 1, 3), (year, 6, 30), (year, 6, 31), (year, 7, 1)}
    days |= {(1375, 12, 30), (1408, 12, 30), (1407, 12, 29), (1370, 12, 30), (1300, 1, 1), (1500, 12, 29), (1324, 1, 1)}
    rows = []
    for year, month, day in sorted(days):
        one = jdatetime.date(year, month, day)
        date = one.togregorian()
        begin, end = (datetime.datetime.combine(d, datetime.time(), tehran) for d in (date, date + datetime.timedelta(days=1)))

        def first(moment):
            # Where midnight is skipped the day begins at the first instant after it: fold 0 reads a gap with the offset before it.
            return moment.astimezone(utc)

        begin, end = first(begin), first(end)
        rows.append(dict(jalali=f"{year:04}-{month:02}-{day:02}", gregorian=date.isoformat(), weekday_sat0=one.weekday(),
                         is_leap=int(one.isleap()), utc_start=begin.strftime("%Y-%m-%dT%H:%MZ"),
                         utc_end=end.strftime("%Y-%m-%dT%H:%MZ"), hours=(end - begin).total_seconds() / 3600,
                         tou_half=1 if month <= 6 else 2))
    return pd.DataFrame(rows)


def six(value):
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


def yields(frame, p):
    valid = frame.dropna(subset=["g_poa_wm2", "t_mod_c", "e_dc_kwh", "e_ac_kwh"])
    tau = p["tau_h"]
    over = lambda x, y: x / y if y > 0 else np.nan
    h = valid.g_poa_wm2.sum() * tau / 1000
    dc, ac = valid.e_dc_kwh.sum(), valid.e_ac_kwh.sum()
    rated = lambda f, t: (p["P0"] * (1 + p["gamma"] * (f.t_mod_c - t)) * f.g_poa_wm2 / 1000 * tau)
    day = valid[valid.g_poa_wm2 >= p["Gmin"]]
    up, down = day[day.unit_up > 0], day[day.unit_up <= 0]
    pr_up = over(up.e_ac_kwh.sum(), rated(up, 25).sum())
    lost = max(0.0, (rated(down, 25) * pr_up - down.e_ac_kwh).sum()) if np.isfinite(pr_up) else np.nan
    hours = len(valid) * tau
    return dict(n_intervals=float(len(frame)), n_valid=float(len(valid)), data_completeness=len(valid) / len(frame),
                H_poa_kwh_m2=h, E_dc_kwh=dc, E_ac_kwh=ac, Yr_h=h, Ya_h=dc / p["P0"], Yf_h=ac / p["P0"], Lc_h=h - dc / p["P0"],
                Lbos_h=(dc - ac) / p["P0"], PR=over(ac / p["P0"], h), PR_stc25=over(ac, rated(valid, 25).sum()),
                PR_annual_eq=over(ac, rated(valid, p["Tann"]).sum()), capacity_factor_dc=over(ac, p["P0"] * hours),
                capacity_factor_ac=over(ac, p["Pac"] * hours), availability_time=over(len(up), len(day)),
                E_lost_downtime_kwh=lost, availability_energy=over(ac, ac + lost))


def quarters(start, days, tau_h):
    step = pd.Timedelta(hours=tau_h)
    return pd.date_range(pd.Timestamp(start) + step, periods=int(days * 24 / tau_h), freq=step)


def day_numbers(times):
    """1, 2, ... by Tehran's day of each interval; `times` are the intervals' ends."""
    dates = (times - pd.Timedelta(seconds=1)).tz_convert("Asia/Tehran").date
    order = {date: number for number, date in enumerate(sorted(set(dates)), 1)}
    return np.array([order[date] for date in dates])


def sunny(rng, times, days_cloud):
    local = (times - pd.Timedelta(minutes=7)).tz_convert("Asia/Tehran")
    hour = local.hour + local.minute / 60
    clear = np.clip(np.sin((hour - 5.5) / 13 * np.pi), 0, None) * ((hour > 5.5) & (hour < 18.5))
    return clear, clear * rng.uniform(1 - days_cloud, 1, len(times))


def iec61724(rng, size, tau_h):
    p = dict(P0=float(rng.choice([5.0, 99.9, 1200.0])), gamma=round(float(rng.uniform(-0.005, -0.0025)), 5),
             Tann=round(float(rng.uniform(15, 45)), 2), Gmin=float(rng.choice([20.0, 50.0, 200.0])), tau_h=tau_h)
    p["Pac"] = round(p["P0"] * 0.8, 3)
    times = quarters("2024-03-18T20:30Z", 3, tau_h)
    clear, seen = sunny(rng, times, 0.6)
    # A pyranometer is a little below zero at night, and the inverter takes a little.
    plane = np.where(clear > 0, (1050 * seen).round(1), rng.uniform(-3, 0, len(times)).round(1))
    module = (12 + plane / 35 + rng.normal(0, 1, len(times))).round(2)
    dc = np.clip(p["P0"] * plane / 1000 * 0.88 * tau_h, 0, None).round(4)
    ac = np.minimum(dc * 0.965, p["Pac"] * tau_h).round(4)
    up = np.ones(len(times), int)
    number = day_numbers(times)
    trip = (number == 2) & (clear > 0.5)
    up[trip], dc[trip], ac[trip] = 0, 0.0, 0.0
    frame = pd.DataFrame(dict(ts_utc=times.strftime("%Y-%m-%dT%H:%MZ"), g_poa_wm2=plane, t_mod_c=module, e_dc_kwh=dc,
                              e_ac_kwh=ac, unit_up=up))
    for column in ("g_poa_wm2", "t_mod_c", "e_dc_kwh", "e_ac_kwh"):
        frame.loc[rng.choice(len(frame), 2, replace=False), column] = np.nan
    periods = [("total", frame)] + [(f"day{n}", frame[number == n]) for n in sorted(set(number))]
    expected = [dict(period=name, **{k: six(v) for k, v in yields(part, p).items()}) for name, part in periods]
    return frame, dict(params=p, expected=expected)


def balance(frame, share, tau_h):
    known = frame.dropna(subset=["gen_kwh", "load_kwh"])
    g, l = known.gen_kwh, known.load_kwh
    imp, exp = (l - g).clip(lower=0), (g - l).clip(lower=0)
    over = lambda x, y: x / y if y > 0 else np.nan
    used, due = (g - exp).sum(), share * l.sum()
    out = dict(gen_kwh=g.sum(), load_kwh=l.sum(), imbalance_kwh=(l - g).sum(), import_kwh=imp.sum(), export_kwh=exp.sum(),
               self_consumed_kwh=used, self_consumption_ratio=over(used, g.sum()), self_sufficiency_ratio=over(used, l.sum()),
               renewable_coverage=over(g.sum(), l.sum()), coverage_capped=min(1.0, over(g.sum(), l.sum())),
               obligation_share=share, obligation_kwh=due, obligation_gap_kwh=max(0.0, due - g.sum()))
    out = {k: six(v) for k, v in out.items()}
    out["obligation_met"] = bool(g.sum() >= due)
    out.update(abs_imbalance_kwh=six((l - g).abs().sum()), max_interval_import_kw=six(imp.max() / tau_h),
               max_interval_export_kw=six(exp.max() / tau_h))
    return out


def met(frame, schedule, p0, tau_h):
    pair = pd.DataFrame(dict(a=frame.gen_kwh.to_numpy(), s=schedule, c=frame.clearsky_kwh.to_numpy())).dropna(subset=["a", "s"])
    off = pair.a - pair.s
    lit = off[pair.c > 0]
    mean = lambda x: x.mean() if len(x) else np.nan
    out = dict(sched_kwh=pair.s.sum(), deviation_kwh=off.sum(), abs_deviation_kwh=off.abs().sum(),
               positive_kwh=off.clip(lower=0).sum(), negative_kwh=off.clip(upper=0).sum(), mae_kw_all=mean(off.abs() / tau_h),
               mbe_kw_all=mean(off / tau_h), rmse_kw_all=np.sqrt(mean((off / tau_h) ** 2)), mae_kw_daylight=mean(lit.abs() / tau_h),
               mbe_kw_daylight=mean(lit / tau_h), nmae_p0_pct=mean(off.abs() / tau_h) / p0 * 100)
    out = {k: six(v) for k, v in out.items()}
    out["n_daylight"] = int(len(lit))
    return out


def imbalance(rng, size, tau_h):
    p0, share = float(rng.choice([10.0, 250.0])), float(rng.choice([0.05, 0.15, 0.2]))
    times = quarters("2024-09-19T20:30Z", 2, tau_h)
    clear, seen = sunny(rng, times, 0.7)
    frame = pd.DataFrame(dict(ts_utc=times.strftime("%Y-%m-%dT%H:%MZ"), gen_kwh=(p0 * seen * tau_h * 0.8).round(3),
                              load_kwh=(p0 * rng.uniform(0, 0.6, len(times)) * tau_h).round(3),
                              clearsky_kwh=(p0 * clear * tau_h * 0.8).round(3)))
    frame.loc[rng.choice(len(frame), 2, replace=False), "gen_kwh"] = np.nan
    frame.loc[rng.choice(len(frame), 2, replace=False), "load_kwh"] = np.nan
    number = day_numbers(times)
    first, second = frame[number == 1], frame[number == 2]
    known = first.dropna(subset=["gen_kwh", "clearsky_kwh"])
    scale = known.gen_kwh.sum() / known.clearsky_kwh.sum()
    expected = dict(P0_kw=p0, total=balance(frame, share, tau_h), day1=balance(first, share, tau_h), day2=balance(second, share, tau_h))
    expected["day2_forecast"] = dict(persistence=met(second, first.gen_kwh.to_numpy(), p0, tau_h),
                                     clearsky=met(second, (second.clearsky_kwh * scale).round(3).to_numpy(), p0, tau_h),
                                     clearsky_scale=six(scale))
    net1 = frame.load_kwh - frame.gen_kwh
    net2 = (frame.load_kwh * 0.3).round(3) - (frame.gen_kwh[::-1].reset_index(drop=True) * 0.4).round(3)
    both = pd.DataFrame(dict(a=net1, b=net2)).dropna()
    gross, net = both.abs().sum().sum(), both.sum(axis=1).abs().sum()
    expected["fleet_two_sites"] = dict(site2_rule="gen2=round(reverse(gen)*0.4,3), load2=round(load*0.3,3)",
                                       gross_abs_kwh=six(gross), net_abs_kwh=six(net), netting_benefit_kwh=six(gross - net))
    return frame, expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1404)
    parser.add_argument("--size", type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, table in (("solar", solar), ("phases", phases), ("jalali", jalali)):
        table(rng, args.size).to_csv(args.out / f"{name}.csv", index=False)
    for name, make in (("iec61724", iec61724), ("imbalance", imbalance)):
        frame, expected = make(rng, args.size, float(rng.choice([0.25, 0.5, 1.0])))
        frame.to_csv(args.out / f"{name}.csv", index=False)
        (args.out / f"{name}_expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
