"""From a broker to an InfluxDB v2 server, as commonly written: paho-mqtt and influxdb-client with its batching writer.

python bridge.py BROKER_PORT INFLUX_URL
"""

import json
import sys

import paho.mqtt.client as mqtt
from influxdb_client import InfluxDBClient, Point, WriteOptions

port, url = int(sys.argv[1]), sys.argv[2]
client = InfluxDBClient(url=url, token="t", org="o")
# The writer's own defaults, written out.
writer = client.write_api(write_options=WriteOptions(batch_size=1000, flush_interval=1000))


def on_message(_client, _data, message):
    reading = json.loads(message.payload)
    point = Point("meter").tag("plant", reading.pop("plant")).tag("meter", reading.pop("meter"))
    point = point.time(reading.pop("ts"), "ms")
    for name, value in reading.items():
        point = point.field(name, value)
    writer.write("b", "o", point, write_precision="ms")


def on_connect(session, _data, _flags, reason, _properties):
    if reason.is_failure:
        sys.exit(f"the broker refuses: {reason}")
    session.subscribe("solar/#", 1)


def on_subscribe(*_):
    print("subscribed", flush=True)


session = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="bridge")
session.on_message, session.on_connect, session.on_subscribe = on_message, on_connect, on_subscribe
session.connect("127.0.0.1", port, 60)
session.loop_forever()
