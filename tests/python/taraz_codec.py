"""The device protocol, version 1, written from docs/protocol.md alone, with Python's standard library only.

It is the second implementation that the Rust crates are held against, so nothing here was taken from them. Values have the
form of the golden descriptions (telemetry/golden/v1/*.json): plain dictionaries, one key for each thing the document names.

Everything that a peer could send wrongly raises `Refused`.
"""

import hashlib
import hmac
import zlib

VERSION = 1
FRAME_LEN_MIN, FRAME_LEN_MAX = 24, 1200
ACK_LEN_MAX, ACK_RANGES_MAX = 627, 32
DROPPED_RANGES_MAX, MPPT_MAX, DIAGNOSTICS_METERS_MAX = 16, 8, 8
DEVICE_ID_LEN_MAX, FIRMWARE_LEN_MAX = 32, 24
TAG_LEN = 16
UP, DOWN = b"U", b"D"

CLOCKS = ["synced", "holdover", "unsynced"]
STATUSES = ["timeout", "bad_frame", "exception", "not_understood", "unstable"]
RESET_CAUSES = ["unknown", "power_on", "watchdog", "panic", "requested", "brown_out"]
HOLDS = ["implausible_time", "implausible_value", "unknown_meter"]
DIAGNOSTICS = [
    "uptime_s", "queue_records", "queue_capacity_records", "dropped_records", "link_connects",
]
METER_DIAGNOSTICS = ["requests", "crc_errors", "timeouts", "exceptions"]

U8, U32, U63, U64 = (0, 2**8 - 1), (0, 2**32 - 1), (0, 2**63 - 1), (0, 2**64 - 1)
I32 = (-(2**31), 2**31 - 1)

# Section 7, in the order of the bits: name, signed on the wire, bias, range of the value.
QUANTITIES = [
    ("ac_power_w", True, 0, I32),
    ("energy_wh", False, 0, U63),
    ("voltage_an_dv", False, 0, U32),
    ("voltage_bn_dv", False, 0, U32),
    ("voltage_cn_dv", False, 0, U32),
    ("current_a_ca", True, 0, I32),
    ("current_b_ca", True, 0, I32),
    ("current_c_ca", True, 0, I32),
    ("frequency_mhz", True, 50000, U32),
    ("dc_power_w", True, 0, I32),
    ("temperature_dc", True, 0, I32),
    ("state", False, 0, U8),
    ("events", False, 0, U32),
    ("import_wh", False, 0, U63),
    ("export_wh", False, 0, U63),
    ("ac_power_a_w", True, 0, I32),
    ("ac_power_b_w", True, 0, I32),
    ("ac_power_c_w", True, 0, I32),
    ("apparent_power_va", True, 0, I32),
    ("reactive_power_var", True, 0, I32),
    ("power_factor_permille", True, 0, I32),
    ("current_n_ca", True, 0, I32),
    ("voltage_ab_dv", False, 0, U32),
    ("voltage_bc_dv", False, 0, U32),
    ("voltage_ca_dv", False, 0, U32),
    ("dc_voltage_dv", False, 0, U32),
    ("dc_current_ca", True, 0, I32),
    ("irradiance_dwm2", True, 0, I32),
    ("module_temperature_dc", True, 0, I32),
    ("ambient_temperature_dc", True, 0, I32),
    ("wind_speed_dms", False, 0, U32),
]
MPPT_BIT = 31
MPPT_VALUES = [("voltage_dv", False, U32), ("current_ca", True, I32), ("power_w", True, I32)]


class Refused(Exception):
    """Bytes that are not what they claim to be, or a value that can't be written."""


# Section 1: conventions.


def within(value, bounds, what):
    if not isinstance(value, int) or not bounds[0] <= value <= bounds[1]:
        raise Refused(f"{what} is {value}, expected {bounds[0]} to {bounds[1]}")
    return value


def varint(value, bounds=U64, what="a number"):
    within(value, bounds, what)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value):
    return varint(2 * value if value >= 0 else -2 * value - 1)


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return varint(len(data)) + data


class Reader:
    """Reads from the front of bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        if count > self.left():
            raise Refused("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self, bounds=U8, what="a byte"):
        return within(self.take(1)[0], bounds, what)

    def u32_le(self):
        return int.from_bytes(self.take(4), "little")

    def varint(self, bounds=U64, what="a number"):
        value, shift = 0, 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift > 0:
                    raise Refused("a varint in a second spelling")
                return within(value, bounds, what)
            shift += 7
            if shift > 63:
                raise Refused("a varint above 64 bits")

    def zigzag(self):
        raw = self.varint()
        return raw >> 1 if raw & 1 == 0 else -(raw >> 1) - 1

    def text(self, length_max):
        return self.take(self.varint((0, length_max), "a length"))

    def option(self, read):
        return read() if self.u8((0, 1), "an option") else None

    def word(self, words, what):
        return words[self.u8((0, len(words) - 1), what)]


# Sections 2 and 3: identities, keys, tags.


def check_device_id(device):
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
    if not 1 <= len(device) <= DEVICE_ID_LEN_MAX or device[0] == "-" or device[-1] == "-":
        raise Refused(f"{device!r} is not a device id")
    if any(character not in allowed for character in device):
        raise Refused(f"{device!r} is not a device id")
    return device


def hkdf(secret, info, length):
    """RFC 5869 with SHA-256 and the salt of version 1."""
    pseudo_random_key = hmac.new(b"taraz/1", secret, hashlib.sha256).digest()
    out, block, count = b"", b"", 0
    while len(out) < length:
        count += 1
        block = hmac.new(pseudo_random_key, block + info + bytes([count]), hashlib.sha256).digest()
        out += block
    return out[:length]


def device_key(master_key, device, generation):
    return hkdf(master_key, b"device-key" + check_device_id(device).encode() + bytes([0, generation]), 32)


def password(key):
    return hkdf(key, b"mqtt-password", 16).hex()


def tag(key, direction, device, content):
    return hmac.new(key, direction + device.encode() + content, hashlib.sha256).digest()[:TAG_LEN]


def split_tagged(data, key, generation, direction, device):
    """Checks version, generation and tag; returns a reader behind the first two bytes."""
    if data[0] != VERSION:
        raise Refused(f"version {data[0]}, expected {VERSION}")
    if data[1] != generation:
        raise Refused(f"key generation {data[1]}, expected {generation}")
    content = data[:-TAG_LEN]
    if not hmac.compare_digest(tag(key, direction, device, content), data[-TAG_LEN:]):
        raise Refused("the tag does not fit")
    reader = Reader(content)
    reader.take(2)
    return reader


# Sections 6 and 7: records.


def write_stamp(record):
    return bytes([CLOCKS.index(record["clock"])]) + varint(record["ms"])


def write_mppt(inputs):
    if not 1 <= len(inputs) <= MPPT_MAX:
        raise Refused(f"{len(inputs)} MPPT inputs, expected 1 to {MPPT_MAX}")
    out = varint(len(inputs))
    for one in inputs:
        out += bytes([sum(1 << bit for bit, (name, _, _) in enumerate(MPPT_VALUES) if name in one)])
        for name, signed, bounds in MPPT_VALUES:
            if name in one:
                within(one[name], bounds, name)
                out += zigzag(one[name]) if signed else varint(one[name])
    return out


def write_reading(record):
    presence, out = 0, b""
    unknown = set(record["values"]) - {name for name, _, _, _ in QUANTITIES}
    if unknown:
        raise Refused(f"no such quantities: {unknown}")
    for bit, (name, signed, bias, bounds) in enumerate(QUANTITIES):
        if name in record["values"]:
            value = within(record["values"][name], bounds, name)
            presence |= 1 << bit
            out += zigzag(value - bias) if signed else varint(value)
    if "mppt" in record:
        presence |= 1 << MPPT_BIT
        out += write_mppt(record["mppt"])
    head = bytes([0, within(record["meter"], (1, 247), "meter")])
    return head + varint(presence << 2 | CLOCKS.index(record["clock"])) + varint(record["ms"]) + out


def write_failed(record):
    out = bytes([1, within(record["meter"], (1, 247), "meter")]) + write_stamp(record)
    out += bytes([STATUSES.index(record["status"])])
    if record["status"] == "exception":
        out += bytes([record["exception_code"]])
    return out + varint(record["count"], (1, U32[1]), "count") + varint(record["span_ms"], U32, "span_ms")


def write_start(record):
    out = bytes([2]) + write_stamp(record) + bytes([RESET_CAUSES.index(record["reset_cause"])])
    recovered = record["recovered"]
    out += b"\x00" if recovered is None else b"\x01" + varint(recovered["boot"], U32) + varint(recovered["sequence"], U32)
    within(len(record["firmware"].encode()), (0, FIRMWARE_LEN_MAX), "length of firmware")
    return out + text(record["firmware"])


def write_dropped(record):
    ranges = record["ranges"]
    within(len(ranges), (1, DROPPED_RANGES_MAX), "number of ranges")
    out = bytes([3]) + write_stamp(record) + varint(len(ranges))
    for boot, first, last in ranges:
        out += varint(boot, U32) + varint(first, U32) + varint(last, (first, U32[1]), "last")
    return out


def write_anchor(record):
    return (
        bytes([4]) + varint(record["boot"], U32) + varint(record["monotonic_ms"]) + varint(record["utc_ms"])
        + varint(record["error_ms"], U32)
    )


def write_diagnostics(record):
    out = bytes([5]) + write_stamp(record)
    for name in DIAGNOSTICS:
        out += varint(record[name], U32, name)
    stack = record["stack_high_water_bytes"]
    out += b"\x00" if stack is None else b"\x01" + varint(stack, U32)
    out += varint(len(record["meters"]), (0, DIAGNOSTICS_METERS_MAX), "number of meters")
    for meter in record["meters"]:
        out += bytes([within(meter["meter"], (1, 247), "meter")])
        for name in METER_DIAGNOSTICS:
            out += varint(meter[name], U32, name)
    return out


WRITERS = {
    "reading": write_reading, "failed": write_failed, "start": write_start, "dropped": write_dropped,
    "anchor": write_anchor, "diagnostics": write_diagnostics,
}


def write_record(record):
    return WRITERS[record["kind"]](record)


def clock_of(bits):
    return CLOCKS[within(bits, (0, len(CLOCKS) - 1), "clock")]


def read_stamp(reader):
    return {"clock": clock_of(reader.u8()), "ms": reader.varint()}


def read_mppt(reader):
    inputs = []
    for _ in range(reader.varint((1, MPPT_MAX), "number of MPPT inputs")):
        presence, one = reader.u8((0, 7), "MPPT map"), {}
        for bit, (name, signed, bounds) in enumerate(MPPT_VALUES):
            if presence >> bit & 1:
                one[name] = within(reader.zigzag() if signed else reader.varint(), bounds, name)
        inputs.append(one)
    return inputs


def read_reading(reader):
    meter, presence = reader.u8((1, 247), "meter"), reader.varint((0, 2**34 - 1), "map")
    record = {"kind": "reading", "meter": meter, "clock": clock_of(presence & 3), "ms": reader.varint(), "values": {}}
    presence >>= 2
    for bit, (name, signed, bias, bounds) in enumerate(QUANTITIES):
        if presence >> bit & 1:
            record["values"][name] = within(reader.zigzag() + bias if signed else reader.varint(), bounds, name)
    if presence >> MPPT_BIT:
        record["mppt"] = read_mppt(reader)
    return record


def read_failed(reader):
    record = {"kind": "failed", "meter": reader.u8((1, 247), "meter")} | read_stamp(reader)
    record["status"] = reader.word(STATUSES, "status")
    if record["status"] == "exception":
        record["exception_code"] = reader.u8()
    return record | {"count": reader.varint((1, U32[1]), "count"), "span_ms": reader.varint(U32, "span_ms")}


def read_start(reader):
    record = {"kind": "start"} | read_stamp(reader) | {"reset_cause": reader.word(RESET_CAUSES, "reset cause")}
    record["recovered"] = reader.option(lambda: {"boot": reader.varint(U32), "sequence": reader.varint(U32)})
    try:
        return record | {"firmware": reader.text(FIRMWARE_LEN_MAX).decode()}
    except UnicodeDecodeError as error:
        raise Refused("the firmware version is not UTF-8") from error


def read_dropped(reader):
    record = {"kind": "dropped"} | read_stamp(reader) | {"ranges": []}
    for _ in range(reader.varint((1, DROPPED_RANGES_MAX), "number of ranges")):
        boot, first = reader.varint(U32), reader.varint(U32)
        record["ranges"].append([boot, first, reader.varint((first, U32[1]), "last")])
    return record


def read_anchor(reader):
    return {
        "kind": "anchor", "boot": reader.varint(U32), "monotonic_ms": reader.varint(), "utc_ms": reader.varint(),
        "error_ms": reader.varint(U32),
    }


def read_diagnostics(reader):
    record = {"kind": "diagnostics"} | read_stamp(reader) | {name: reader.varint(U32, name) for name in DIAGNOSTICS}
    record |= {"stack_high_water_bytes": reader.option(lambda: reader.varint(U32)), "meters": []}
    for _ in range(reader.varint((0, DIAGNOSTICS_METERS_MAX), "number of meters")):
        meter = {"meter": reader.u8((1, 247), "meter")}
        record["meters"].append(meter | {name: reader.varint(U32, name) for name in METER_DIAGNOSTICS})
    return record


READERS = [read_reading, read_failed, read_start, read_dropped, read_anchor, read_diagnostics]


def read_record(reader):
    return READERS[reader.u8((0, len(READERS) - 1), "form")](reader)


def read_records(data):
    reader, records = Reader(data), []
    while reader.left():
        records.append(read_record(reader))
    return records


# Section 8: frames.


def write_frame(key, generation, device, incarnation, boot, first, encoded_records):
    """The records come encoded: a record's bytes never change, however often it is sent."""
    within(len(encoded_records), (1, 2**32 - first), "number of records")
    content = bytes([VERSION, generation]) + within(incarnation, U32, "incarnation").to_bytes(4, "little")
    content += varint(boot, U32) + varint(first, U32) + b"".join(encoded_records)
    within(len(content) + TAG_LEN, (FRAME_LEN_MIN, FRAME_LEN_MAX), "length of the frame")
    return content + tag(key, UP, device, content)


def read_frame(data, key, generation, device):
    within(len(data), (FRAME_LEN_MIN, FRAME_LEN_MAX), "length of the frame")
    reader = split_tagged(data, key, generation, UP, device)
    frame = {"incarnation": reader.u32_le(), "boot": reader.varint(U32), "first": reader.varint(U32)}
    frame["records"] = read_records(reader.take(reader.left()))
    within(len(frame["records"]), (1, 2**32 - frame["first"]), "number of records")
    return frame


# Section 9: acknowledgements.


def write_ack(key, generation, device, ranges):
    within(len(ranges), (0, ACK_RANGES_MAX), "number of ranges")
    content = bytes([VERSION, generation, len(ranges)])
    for one in ranges:
        more = within(one["last"], (one["first"], U32[1]), "last") - one["first"]
        content += one["incarnation"].to_bytes(4, "little")
        content += varint(one["boot"], U32) + varint(one["first"], U32) + varint(more)
    return content + tag(key, DOWN, device, content)


def read_ack(data, key, generation, device):
    within(len(data), (3 + TAG_LEN, ACK_LEN_MAX), "length of the acknowledgement")
    reader = split_tagged(data, key, generation, DOWN, device)
    ranges = []
    for _ in range(reader.u8((0, ACK_RANGES_MAX), "number of ranges")):
        one = {"incarnation": reader.u32_le(), "boot": reader.varint(U32), "first": reader.varint(U32)}
        ranges.append(one | {"last": one["first"] + reader.varint((0, U32[1] - one["first"]), "more")})
    if reader.left():
        raise Refused("bytes are left over")
    return {"ranges": ranges}


# Section 17: batches.


def write_batch(items):
    out = bytes([VERSION])
    for item in items:
        out += varint(item["position"]) + varint(item["received_ms"]) + text(item["device"])
        out += varint(item["incarnation"], U32) + varint(item["boot"], U32) + varint(item["first"], U32)
        out += b"\x00" if item["hold"] is None else bytes([1, HOLDS.index(item["hold"])])
        out += text(b"".join(write_record(record) for record in item["records"]))
    return out + zlib.crc32(out).to_bytes(4, "little")


def read_batch(data):
    if len(data) < 5 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise Refused("the check sum of the batch")
    reader, items = Reader(data[:-4]), []
    reader.u8((VERSION, VERSION), "version")
    while reader.left():
        item = {"position": reader.varint(), "received_ms": reader.varint(), "device": reader.text(DEVICE_ID_LEN_MAX).decode()}
        item |= {"incarnation": reader.varint(U32), "boot": reader.varint(U32), "first": reader.varint(U32)}
        item["hold"] = reader.option(lambda: reader.word(HOLDS, "hold"))
        item["records"] = read_records(reader.text(len(data)))
        items.append(item)
    return items
