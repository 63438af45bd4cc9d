"""The golden bytes as the second implementation writes and reads them.

golden.py --check FOLDER   every .json of the folder says what its .bin holds: written from the one, read from the other
golden.py --write FOLDER   writes each .bin that is missing; it never changes one that is there
golden.py --encode         descriptions on stdin, one JSON object a line; hexadecimal bytes on stdout, one line each
"""

import json
import pathlib
import sys

import taraz_codec as codec


def key_of(description):
    if "master_hex" in description:
        master = bytes.fromhex(description["master_hex"])
        return codec.device_key(master, description["device"], description["key_generation"])
    return bytes.fromhex(description["key_hex"])


def encode(description):
    kind = description["type"]
    if kind == "record":
        return codec.write_record(description["record"])
    if kind == "batch":
        return codec.write_batch(description["items"])
    key, generation, device = key_of(description), description["key_generation"], description["device"]
    if kind == "key":
        return key + codec.password(key).encode()
    if kind == "ack":
        return codec.write_ack(key, generation, device, description["ranges"])
    if kind == "frame":
        records = [codec.write_record(record) for record in description["records"]]
        head = [description[name] for name in ("incarnation", "boot", "first")]
        return codec.write_frame(key, generation, device, *head, records)
    raise ValueError(f"unknown type {kind}")


def decode(description, data):
    """What the bytes say, as the part of the description that states it."""
    kind = description["type"]
    if kind == "record":
        (record,) = codec.read_records(data)
        return {"record": record}
    if kind == "batch":
        return {"items": codec.read_batch(data)}
    if kind == "key":
        return {}
    reader = {"ack": codec.read_ack, "frame": codec.read_frame}[kind]
    return reader(data, key_of(description), description["key_generation"], description["device"])


def descriptions(folder):
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        yield path, json.loads(path.read_text())


def check(folder):
    count = 0
    for path, description in descriptions(folder):
        golden = path.with_suffix(".bin").read_bytes()
        written = encode(description)
        if written != golden:
            sys.exit(f"{path.name} is written as\n{written.hex()}\nand the golden bytes are\n{golden.hex()}")
        for name, said in decode(description, golden).items():
            if description[name] != said:
                sys.exit(f"{path.name}: {name} is read as\n{said}\nand the description says\n{description[name]}")
        count += 1
    print(f"{count} golden files hold")


def write(folder):
    for path, description in descriptions(folder):
        target = path.with_suffix(".bin")
        if not target.exists():
            target.write_bytes(encode(description))
            print(target)


def main(arguments):
    match arguments:
        case ["--check", folder]:
            check(folder)
        case ["--write", folder]:
            write(folder)
        case ["--encode"]:
            for line in sys.stdin:
                print(encode(json.loads(line)).hex())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
