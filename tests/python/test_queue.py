"""The Python device's queue and courier: nothing is lost, no identity is used twice, only genuine acknowledgements free."""

import os
import pathlib
import random
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import taraz_codec as codec
from taraz_queue import FRAMES_UNDER_WAY_MAX, PAUSE_MAX_S, Courier, Log

DEVICE, KEY, GENERATION = "sari-01", bytes(range(32)), 3


def records(count, at=0):
    return [
        codec.write_record({"kind": "reading", "meter": 1, "clock": "synced", "ms": at + n, "values": {"ac_power_w": n}})
        for n in range(count)
    ]


def ack(incarnation, boot, first, last, key=KEY):
    one = {"incarnation": incarnation, "boot": boot, "first": first, "last": last}
    return codec.write_ack(key, GENERATION, DEVICE, [one])


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "queue")
        self.logs = []

    def tearDown(self):
        for log in self.logs:
            log.close()
        self.folder.cleanup()

    def open(self):
        self.logs.append(Log(self.path))
        return self.logs[-1]

    def courier(self, log, frame_records=4):
        return Courier(log, DEVICE, KEY, GENERATION, frame_records, ack_timeout_s=10)


class Queue(Folder):
    def test_what_was_written_is_there_after_a_restart(self):
        log = self.open()
        self.assertIsNone(log.start_boot())
        log.write(records(3))
        log.free([(1, 1)])
        again = self.open()
        self.assertEqual(again.incarnation, log.incarnation)
        self.assertEqual(sorted(again.pending), [(1, 0), (1, 2)])
        self.assertEqual(again.start_boot(), (1, 2))
        again.write(records(1))
        self.assertEqual(sorted(again.pending), [(1, 0), (1, 2), (2, 0)])

    def test_cut_at_any_byte_no_identity_is_used_twice_and_nothing_whole_is_gone(self):
        log = self.open()
        for boot in range(3):
            log.start_boot()
            log.write(records(2, at=100 * boot))
            log.free([(boot + 1, 0)])
        whole = pathlib.Path(self.path).read_bytes()
        for length in range(len(whole) + 1):
            pathlib.Path(self.path).write_bytes(whole[:length])
            cut = Log(self.path)
            known = set(cut.ever)
            cut.start_boot()
            cut.write(records(1))
            self.assertEqual(len(cut.ever), len(known) + 1, f"cut to {length}")
            lines = whole[:length].count(b"\n")
            self.assertEqual(len(known), 2 * sum(1 for line in whole.split(b"\n")[:lines] if b"records" in line))
            cut.close()


class Frames(Folder):
    def test_both_lanes_are_served_in_consecutive_runs(self):
        log = self.open()
        log.start_boot()
        log.write(records(10))
        frames = [codec.read_frame(data, KEY, GENERATION, DEVICE) for data in self.courier(log).due_frames(0)]
        self.assertEqual([(f["first"], len(f["records"])) for f in frames], [(6, 4), (0, 4), (4, 2)])

    def test_boots_and_gaps_divide_frames(self):
        log = self.open()
        log.start_boot()
        log.write(records(4))
        log.free([(1, 1)])
        log.start_boot()
        log.write(records(1))
        frames = [codec.read_frame(data, KEY, GENERATION, DEVICE) for data in self.courier(log).due_frames(0)]
        self.assertEqual(
            sorted((f["boot"], f["first"], len(f["records"])) for f in frames), [(1, 0, 1), (1, 2, 2), (2, 0, 1)]
        )

    def test_frames_stay_within_their_length_and_their_number(self):
        log = self.open()
        log.start_boot()
        log.write(records(5000, at=1_795_000_000_000))
        courier = self.courier(log, frame_records=1000)
        self.assertTrue(all(len(data) <= codec.FRAME_LEN_MAX for data in courier.due_frames(0)))
        small = self.courier(log, frame_records=1)
        self.assertEqual(len(small.due_frames(0)), FRAMES_UNDER_WAY_MAX)
        self.assertEqual(small.due_frames(1), [])

    def test_what_is_not_acknowledged_comes_again_with_a_growing_pause(self):
        log = self.open()
        log.start_boot()
        log.write(records(2))
        courier = self.courier(log)
        (sent,) = courier.due_frames(0)
        pauses, now_s, before_s = [], 0, 0
        while len(pauses) < 8:
            now_s += 1
            again = courier.due_frames(now_s)
            if again:
                self.assertEqual(again, [sent], "the same bytes")
                pauses.append(now_s - before_s)
                before_s = now_s
        self.assertEqual(pauses, [10, 10, 20, 40, 80, 160, PAUSE_MAX_S, PAUSE_MAX_S])
        courier.reconnected()
        self.assertEqual(courier.due_frames(now_s), [sent], "at once after a new connection")


class Acknowledgements(Folder):
    def test_only_what_is_listed_is_freed(self):
        log = self.open()
        log.start_boot()
        log.write(records(10))
        courier = self.courier(log)
        courier.acknowledge(ack(log.incarnation, 1, 3, 5))
        courier.acknowledge(ack(log.incarnation, 1, 3, 5))
        courier.acknowledge(ack(log.incarnation ^ 1, 1, 0, 9))
        courier.acknowledge(ack(log.incarnation, 2, 0, 9))
        self.assertEqual([sequence for _, sequence in sorted(log.pending)], [0, 1, 2, 6, 7, 8, 9])

    def test_a_forged_one_frees_nothing(self):
        log = self.open()
        log.start_boot()
        log.write(records(2))
        courier = self.courier(log)
        good = ack(log.incarnation, 1, 0, 1)
        forged = [ack(log.incarnation, 1, 0, 1, key=bytes(32)), good[:-1], good + b"\0", b"", b"\x01\x03\x00"]
        for data in forged:
            with self.assertRaises(codec.Refused):
                courier.acknowledge(data)
        self.assertEqual((len(log.pending), courier.counts["acks_refused"]), (2, len(forged)))

    def test_through_a_link_that_loses_repeats_and_forges_everything_arrives_once(self):
        source = random.Random(7)
        stored, now_s = {}, 0
        for _ in range(4):
            log = self.open()
            log.start_boot()
            courier = self.courier(log)
            for _ in range(40):
                now_s += 5
                log.write(records(source.randrange(6), at=1000 * now_s))
                for data in courier.due_frames(now_s):
                    self.gateway(source, courier, stored, data)
        while log.pending:
            now_s += 5
            for data in courier.due_frames(now_s):
                self.gateway(source, courier, stored, data)
        self.assertEqual(stored, log.ever)

    def gateway(self, source, courier, stored, data):
        """Loses a frame, or stores it; then loses, forges, or sends the acknowledgement, perhaps twice."""
        if source.random() < 0.2:
            return
        frame = codec.read_frame(data, KEY, GENERATION, DEVICE)
        for n, record in enumerate(frame["records"]):
            identity = (frame["boot"], frame["first"] + n)
            self.assertEqual(stored.setdefault(identity, codec.write_record(record)), codec.write_record(record))
        last = frame["first"] + len(frame["records"]) - 1
        answer = ack(frame["incarnation"], frame["boot"], frame["first"], last)
        luck = source.random()
        if luck < 0.2:
            with self.assertRaises(codec.Refused):
                courier.acknowledge(bytes([answer[0], answer[1] ^ 1]) + answer[2:])
        elif luck < 0.8:
            for _ in range(source.choice([1, 1, 2])):
                courier.acknowledge(answer)


if __name__ == "__main__":
    unittest.main()
