"""A device of the protocol in docs/protocol.md, written from that document alone: its meter is a deterministic series.

It writes records into a log (durable before anything is sent), publishes them in frames and keeps each until the gateway's
signed acknowledgement lists it. Killed at any instant and started again on the same log it goes on with a new boot.
Exit status: 0 when every record is acknowledged, 1 when the deadline passed first, 2 for wrong arguments.
Needs paho-mqtt 2 (pip install paho-mqtt).
"""

import argparse
import json
import signal
import sys
import time

import paho.mqtt.client as mqtt
import taraz_codec as codec
from paho.mqtt.enums import CallbackAPIVersion
from taraz_queue import Courier, Log

PUBLISHES_IN_FLIGHT_MAX = 16
CONNECT_PAUSE_MAX_S = 30.0
MQTT_VERSIONS = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}


def reading(number, meter, at_ms):
    """What the meter says at its n-th poll: every fiftieth poll fails, every seventh answer lacks its temperature."""
    stamp = {"meter": meter, "clock": "synced", "ms": at_ms}
    if number % 50 == 49:
        return stamp | {"kind": "failed", "status": "timeout", "count": 1 + number % 3, "span_ms": 2000 * (number % 3)}
    values = {
        "ac_power_w": 4000 + 37 * number % 1500, "energy_wh": 1_000_000 + 12 * number,
        "voltage_an_dv": 2300 + number % 40, "current_a_ca": 1700 + number % 90, "frequency_mhz": 49_950 + number % 101,
        "state": 4,
    }
    if number % 7:
        values["temperature_dc"] = 400 + number % 13
    return stamp | {"kind": "reading", "values": values}


class Device:
    """The session with the broker."""

    def __init__(self, options, log):
        self.options, self.id = options, options.device
        self.key = bytes.fromhex(options.key_hex)
        self.courier = Courier(
            log, self.id, self.key, options.generation, options.frame_records, options.ack_timeout_s
        )
        self.ready = False
        self.frames = set()
        """MQTT packet ids of frames that the server has not answered."""
        self.counts = {"connects": 0, "frames_refused": 0}
        self.client = self._client()

    def topic(self, channel):
        return f"taraz/1/{self.id}/{channel}"

    def _client(self):
        version = MQTT_VERSIONS[self.options.mqtt_version]
        first = {} if version == mqtt.MQTTv5 else {"clean_session": True}
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.id, protocol=version, **first)
        client.username_pw_set(self.id, codec.password(self.key))
        client.will_set(self.topic("state"), b"offline", qos=1, retain=True)
        client.max_inflight_messages_set(PUBLISHES_IN_FLIGHT_MAX)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_message = self._on_subscribe, self._on_message
        client.on_publish = self._on_publish
        return client

    def _on_connect(self, client, _data, _flags, reason, _properties):
        if reason.is_failure:
            print(f"refused by the server: {reason}", file=sys.stderr)
            return
        self.counts["connects"] += 1
        client.subscribe(self.topic("ack"), qos=1)

    def _on_subscribe(self, client, _data, _packet, reasons, _properties):
        if any(reason.is_failure for reason in reasons):
            print(f"the subscription to {self.topic('ack')} was refused: {reasons}", file=sys.stderr)
            return
        client.publish(self.topic("state"), b"online", qos=1, retain=True)
        self.ready = True
        self.courier.reconnected()

    def _on_disconnect(self, _client, _data, _flags, reason, _properties):
        if self.ready:
            print(f"connection lost: {reason}", file=sys.stderr)
        self.ready = False

    def _on_publish(self, _client, _data, packet, reason, _properties):
        if packet in self.frames and reason is not None and reason.is_failure:
            self.counts["frames_refused"] += 1
            print(f"a frame was refused: {reason}", file=sys.stderr)
        self.frames.discard(packet)

    def _on_message(self, _client, _data, message):
        if message.topic == self.topic("ack"):
            try:
                self.courier.acknowledge(message.payload)
            except codec.Refused as error:
                print(f"an acknowledgement was refused: {error}", file=sys.stderr)

    def publish_due(self, now_s):
        for frame in self.courier.due_frames(now_s):
            self.frames.add(self.client.publish(self.topic("up"), frame, qos=1).mid)


class Writer:
    """Polls the meter and writes records into the log."""

    def __init__(self, options, log):
        self.options, self.log = options, log
        self.written = 0
        self.start_ms = options.start_ms
        if self.start_ms is None:
            self.start_ms = time.time_ns() // 1_000_000 - options.readings * options.interval_ms
        before = log.start_boot()
        recovered = None if before is None else {"boot": before[0], "sequence": before[1]}
        start = {"kind": "start", "clock": "synced", "ms": self.start_ms, "recovered": recovered}
        start |= {"reset_cause": "requested" if before else "power_on", "firmware": "0.1.0-python"}
        log.write([codec.write_record(start)])

    def write_due(self, since_start_s):
        """Writes the readings that are due by now; all at once without a rate."""
        rate = self.options.rate
        target = self.options.readings if rate <= 0 else min(self.options.readings, int(since_start_s * rate))
        readings = [
            reading(number, self.options.meter, self.start_ms + number * self.options.interval_ms)
            for number in range(self.written, target)
        ]
        if readings:
            self.log.write([codec.write_record(one) for one in readings])
            self.written = target

    def is_done(self):
        return self.written == self.options.readings


def connect(device, pause_s):
    """Tries once; returns the next pause."""
    options = device.options
    try:
        device.client.connect(options.host, options.port, keepalive=60)
        return options.connect_pause_s
    except OSError as error:
        print(f"{options.host}:{options.port}: {error}; again in {pause_s} s", file=sys.stderr)
        return min(2 * pause_s, CONNECT_PAUSE_MAX_S)


def run(options):
    log = Log(options.state)
    device, writer = Device(options, log), Writer(options, log)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    began_s = time.monotonic()
    pause_s, next_connect_s = options.connect_pause_s, began_s
    while not stopped and time.monotonic() < began_s + options.deadline_s:
        now_s = time.monotonic()
        writer.write_due(now_s - began_s)
        if writer.is_done() and not log.pending:
            break
        if device.client.loop(timeout=0.05) != mqtt.MQTT_ERR_SUCCESS:
            if now_s >= next_connect_s:
                next_connect_s = now_s + pause_s
                pause_s = connect(device, pause_s)
            time.sleep(0.02)
        if device.ready:
            device.publish_due(now_s)
    if device.ready:
        leave(device)
    say_what_was_written(log, options.out)
    state = {"boot": log.boot, "written": log.sequence, "pending": len(log.pending)}
    print(json.dumps(device.counts | device.courier.counts | state))
    return 0 if writer.is_done() and not log.pending else 1


def say_what_was_written(log, path):
    """Every record that the queue ever held, of every boot: what must be stored in the end."""
    with open(path, "w", encoding="utf-8") as out:
        for (boot, sequence), data in sorted(log.ever.items()):
            (record,) = codec.read_records(data)
            identity = {"incarnation": log.incarnation, "boot": boot, "sequence": sequence}
            out.write(json.dumps(identity | {"record": record}) + "\n")


def leave(device):
    """Says `offline` and waits until the server has it."""
    info = device.client.publish(device.topic("state"), b"offline", qos=1, retain=True)
    until_s = time.monotonic() + 5
    while not info.is_published() and time.monotonic() < until_s:
        if device.client.loop(timeout=0.05) != mqtt.MQTT_ERR_SUCCESS:
            return
    device.ready = False
    device.client.disconnect()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--device", required=True, type=codec.check_device_id, help="device id")
    parser.add_argument("--key-hex", required=True, help="device key, 64 hexadecimal digits")
    parser.add_argument("--generation", type=int, default=1, help="generation of the key")
    parser.add_argument("--readings", type=int, required=True, help="how many readings to write in this boot")
    parser.add_argument("--meter", type=int, default=1, help="Modbus address that the readings name")
    parser.add_argument("--start-ms", type=int, help="UTC ms of the first reading; default: so that the last is now")
    parser.add_argument("--interval-ms", type=int, default=10_000, help="from one reading to the next")
    parser.add_argument("--rate", type=float, default=0, help="readings written per second; 0: all at once")
    parser.add_argument("--frame-records", type=int, default=12, help="most records in a frame")
    parser.add_argument("--state", required=True, help="file of the queue")
    parser.add_argument("--out", required=True, help="file for every record ever written, one JSON object a line")
    parser.add_argument("--deadline-s", type=float, default=120)
    parser.add_argument("--ack-timeout-s", type=float, default=10, help="first pause before sending again")
    parser.add_argument("--connect-pause-s", type=float, default=1, help="first pause before connecting again")
    parser.add_argument("--mqtt-version", choices=MQTT_VERSIONS, default="5")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(arguments()))
