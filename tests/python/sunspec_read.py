"""Reads a SunSpec device over Modbus TCP with pysunspec2 and prints every point with its scale factor applied.

Usage: sunspec_read.py HOST PORT UNIT

Prints one JSON object: {"models": [{"id": 103, "points": {"W": 1234.0, ...}, "groups": [{...}, ...]}, ...]}; a point that is not
implemented is null. It is the second opinion of the differential test: nothing here knows how Taraz decodes.
"""

import json
import math
import sys

import sunspec2.modbus.client as client

# Seconds to wait for one answer.
TIMEOUT_S = 5


def value_of(point):
    """A point's value with its scale factor applied; None when it is not implemented.

    pysunspec2 knows the "not implemented" patterns of integers, but takes a float's NaN for a value and computes 10^-32768 when a
    scale factor is not implemented.
    """
    try:
        value = point.cvalue
    except OverflowError:
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def points_of(group):
    """The points of a group by name."""
    return {name: value_of(point) for name, point in group.points.items()}


def repeats_of(group):
    """The repeating groups below a model, flattened in their order."""
    repeats = []
    for below in group.groups.values():
        for one in below if isinstance(below, list) else [below]:
            repeats.append(points_of(one))
    return repeats


def main():
    host, port, unit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    device = client.SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port, timeout=TIMEOUT_S)
    device.scan()
    models = []
    for model_id, instances in device.models.items():
        if not isinstance(model_id, int):
            continue
        for model in instances:
            model.read()
            models.append({"id": model_id, "points": points_of(model), "groups": repeats_of(model)})
    device.close()
    json.dump({"models": models, "base": device.base_addr}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
