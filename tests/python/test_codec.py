"""The second implementation against the vectors of docs/protocol.md, and against itself."""

import pathlib
import random
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import taraz_codec as codec

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "protocol.md"


def vectors():
    found = {}
    for block in re.findall(r"```vectors\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\n ", "").splitlines():
            name, value = line.split(" = ")
            found[name] = value.replace(" ", "")
    return found


VECTORS = vectors()
DEVICE = VECTORS["device"]
KEY = bytes.fromhex(VECTORS["device_key"])


class Conventions(unittest.TestCase):
    def test_varints_of_the_document(self):
        for value, expected in [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02")]:
            self.assertEqual(codec.varint(value).hex(), expected)
        for value, expected in [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (27600, "a0af03")]:
            self.assertEqual(codec.zigzag(value).hex(), expected)

    def test_every_number_comes_back(self):
        for bits in range(64):
            for value in (2**bits - 1, 2**bits, -(2**bits), 1 - 2**bits):
                if value >= 0:
                    self.assertEqual(codec.Reader(codec.varint(value)).varint(), value)
                if -(2**63) <= value < 2**63:
                    self.assertEqual(codec.Reader(codec.zigzag(value)).zigzag(), value)

    def test_a_second_spelling_is_refused(self):
        for spelled in ["8000", "808000", "ffff00", "ffffffffffffffffff02", "80"]:
            with self.assertRaises(codec.Refused, msg=spelled):
                codec.Reader(bytes.fromhex(spelled)).varint()

    def test_device_ids(self):
        for device in ["a", "sari-01", "0" * 32]:
            self.assertEqual(codec.check_device_id(device), device)
        for device in ["", "-a", "a-", "A", "a_b", "ساری", "a" * 33]:
            with self.assertRaises(codec.Refused, msg=device):
                codec.check_device_id(device)


class Keys(unittest.TestCase):
    def test_hkdf_of_the_document(self):
        master = bytes.fromhex(VECTORS["master_key"])
        self.assertEqual(codec.device_key(master, DEVICE, 1), KEY)
        self.assertEqual(codec.password(KEY), VECTORS["password"])
        self.assertNotEqual(codec.device_key(master, DEVICE, 2), KEY)


class Messages(unittest.TestCase):
    def test_records_of_the_document(self):
        seen = set()
        for name, value in VECTORS.items():
            if name.startswith("record-"):
                (record,) = codec.read_records(bytes.fromhex(value))
                self.assertEqual(codec.write_record(record).hex(), value, name)
                seen.add(record["kind"])
        self.assertEqual(seen, set(codec.WRITERS))

    def test_frames_of_the_document(self):
        for name, value in VECTORS.items():
            if name.startswith("frame-"):
                frame = codec.read_frame(bytes.fromhex(value), KEY, 1, DEVICE)
                records = [codec.write_record(record) for record in frame["records"]]
                head = [frame[part] for part in ("incarnation", "boot", "first")]
                self.assertEqual(codec.write_frame(KEY, 1, DEVICE, *head, records).hex(), value, name)

    def test_acknowledgements_of_the_document(self):
        ranges = codec.read_ack(bytes.fromhex(VECTORS["ack-one"]), KEY, 1, DEVICE)["ranges"]
        self.assertEqual(ranges, [{"incarnation": 0x1BADCAFE, "boot": 200, "first": 100000, "last": 100000}])
        for name in ("ack-one", "ack-lanes"):
            ranges = codec.read_ack(bytes.fromhex(VECTORS[name]), KEY, 1, DEVICE)["ranges"]
            self.assertEqual(codec.write_ack(KEY, 1, DEVICE, ranges).hex(), VECTORS[name])

    def test_batches_of_the_document(self):
        items = codec.read_batch(bytes.fromhex(VECTORS["batch-three"]))
        self.assertEqual(codec.write_batch(items).hex(), VECTORS["batch-three"])

    def test_a_batch_with_a_flipped_bit_is_refused(self):
        good = bytes.fromhex(VECTORS["batch-three"])
        for bit in range(8 * len(good)):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            with self.assertRaises(codec.Refused, msg=f"bit {bit}"):
                codec.read_batch(bytes(bad))

    def test_every_flipped_bit_and_every_cut_is_refused(self):
        for name, read in [("frame-twelve-fields", codec.read_frame), ("ack-lanes", codec.read_ack)]:
            good = bytes.fromhex(VECTORS[name])
            for bit in range(8 * len(good)):
                bad = bytearray(good)
                bad[bit // 8] ^= 1 << bit % 8
                with self.assertRaises(codec.Refused, msg=f"{name} bit {bit}"):
                    read(bytes(bad), KEY, 1, DEVICE)
            for length in range(len(good)):
                with self.assertRaises(codec.Refused, msg=f"{name} cut to {length}"):
                    read(good[:length], KEY, 1, DEVICE)

    def test_a_message_of_another_device_direction_or_generation_is_refused(self):
        ack = bytes.fromhex(VECTORS["ack-one"])
        played_back = ack[:-16] + codec.tag(KEY, codec.UP, DEVICE, ack[:-16])
        for bad, generation, device in [(ack, 1, "sari-02"), (ack, 2, DEVICE), (played_back, 1, DEVICE)]:
            with self.assertRaises(codec.Refused):
                codec.read_ack(bad, KEY, generation, device)

    def test_arbitrary_bytes_are_refused_or_read(self):
        source = random.Random(1)
        for _ in range(3000):
            data = source.randbytes(source.randrange(60))
            try:
                records = codec.read_records(data)
            except codec.Refused:
                continue
            self.assertEqual(b"".join(map(codec.write_record, records)), data, "what is read has one spelling")


if __name__ == "__main__":
    unittest.main()
