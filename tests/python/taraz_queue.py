"""The part of the Python device that needs no network: its durable queue, and what of it is sent when.

Written from docs/protocol.md alone (sections 2, 8, 9, 10), with Python's standard library only.
"""

import json
import os
import secrets

import taraz_codec as codec

FRAMES_UNDER_WAY_MAX = 32
PAUSE_MAX_S = 300.0
FRAME_OVERHEAD_MAX = 2 + 4 + 5 + 5 + codec.TAG_LEN


class Log:
    """The queue: one JSON line per fact, appended and flushed to the disk. A torn last line never happened."""

    def __init__(self, path):
        self.incarnation, self.boot, self.sequence = None, 0, 0
        self.newest = None
        self.pending = {}
        """Identity (boot, sequence) → bytes of each record that is not acknowledged."""
        self.ever = {}
        """The same of every record that was ever written, for `--out`."""
        if os.path.exists(path):
            self._replay(path)
        self.file = open(path, "ab")
        if self.incarnation is None:
            self.incarnation = secrets.randbits(32)
            self._append({"incarnation": self.incarnation})

    def _replay(self, path):
        with open(path, "rb+") as file:
            whole = 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._apply(json.loads(line))
                whole += len(line)
            file.truncate(whole)

    def _apply(self, fact):
        if "incarnation" in fact:
            self.incarnation = fact["incarnation"]
        elif "boot" in fact:
            self.boot, self.sequence = fact["boot"], 0
        elif "records" in fact:
            for data in fact["records"]:
                self.newest = (self.boot, self.sequence)
                self.pending[self.newest] = self.ever[self.newest] = bytes.fromhex(data)
                self.sequence += 1
        elif "free" in fact:
            for boot, sequence in fact["free"]:
                self.pending.pop((boot, sequence), None)

    def _append(self, fact):
        self.file.write(json.dumps(fact).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def start_boot(self):
        """Counts the boot up, durably, and returns the newest record from before it."""
        before = self.newest
        fact = {"boot": self.boot + 1}
        self._append(fact)
        self._apply(fact)
        return before

    def write(self, records):
        """Makes the encoded records durable under the next sequences."""
        fact = {"records": [data.hex() for data in records]}
        self._append(fact)
        self._apply(fact)

    def free(self, identities):
        """Forgets acknowledged records."""
        fact = {"free": sorted(identities)}
        self._append(fact)
        self._apply(fact)

    def close(self):
        self.file.close()


class Courier:
    """Which records go next: by turns the newest and the oldest of those that are due."""

    def __init__(self, log, device, key, generation, frame_records, ack_timeout_s):
        self.log, self.device, self.key, self.generation = log, device, key, generation
        self.frame_records, self.ack_timeout_s = frame_records, ack_timeout_s
        self.pause_s = ack_timeout_s
        self.due_s = {}
        """Identity → when it is sent again; what is not in it is due now."""
        self.sent = set()
        self.newest_next = False
        self.counts = dict.fromkeys(["frames", "records_sent", "records_again", "acks", "acks_refused"], 0)

    def reconnected(self):
        """What was under way may have gone with the old connection."""
        self.due_s.clear()

    def acknowledge(self, data):
        """Frees what a genuine acknowledgement lists; raises `Refused` for any other bytes."""
        try:
            ranges = codec.read_ack(data, self.key, self.generation, self.device)["ranges"]
        except codec.Refused:
            self.counts["acks_refused"] += 1
            raise
        self.counts["acks"] += 1
        self.pause_s = self.ack_timeout_s
        mine = [one for one in ranges if one["incarnation"] == self.log.incarnation]
        freed = [
            identity for identity in self.log.pending
            if any(one["boot"] == identity[0] and one["first"] <= identity[1] <= one["last"] for one in mine)
        ]
        if freed:
            self.log.free(freed)
        for identity in freed:
            self.due_s.pop(identity, None)

    def due_frames(self, now_s):
        """The frames to publish now; they count as sent."""
        waiting = [identity for identity in sorted(self.log.pending) if self.due_s.get(identity, now_s) <= now_s]
        overdue = any(identity in self.due_s for identity in waiting)
        frames = []
        while waiting and self._frames_under_way(now_s) < FRAMES_UNDER_WAY_MAX:
            self.newest_next = not self.newest_next
            run = self._take_run(waiting, self.newest_next)
            head = (self.log.incarnation, *run[0])
            records = [self.log.pending[identity] for identity in run]
            frames.append(codec.write_frame(self.key, self.generation, self.device, *head, records))
            for identity in run:
                self.counts["records_again" if identity in self.sent else "records_sent"] += 1
                self.sent.add(identity)
                self.due_s[identity] = now_s + self.pause_s
        self.counts["frames"] += len(frames)
        if overdue and frames:
            self.pause_s = min(2 * self.pause_s, PAUSE_MAX_S)
        return frames

    def _frames_under_way(self, now_s):
        records = sum(1 for due_s in self.due_s.values() if due_s > now_s)
        return -(-records // self.frame_records)

    def _take_run(self, waiting, newest):
        """Takes consecutive sequences of one boot from the end or from the front, as many as one frame holds."""
        run = [waiting.pop() if newest else waiting.pop(0)]
        room = codec.FRAME_LEN_MAX - FRAME_OVERHEAD_MAX - len(self.log.pending[run[0]])
        while waiting and len(run) < self.frame_records:
            boot, sequence = run[0] if newest else run[-1]
            candidate = waiting[-1] if newest else waiting[0]
            room -= len(self.log.pending[candidate])
            if candidate != (boot, sequence + (-1 if newest else 1)) or room < 0:
                break
            if newest:
                run.insert(0, waiting.pop())
            else:
                run.append(waiting.pop(0))
        return run
