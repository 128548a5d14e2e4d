"""What a store has acknowledged survives SIGKILL, whole; what it was writing is there whole or not at all.

Usage: store_crash_test.py --store-writer PROGRAM
"""

import argparse
import pathlib
import random
import subprocess
import tempfile
import unittest

ROUNDS = 30
MOST_LINES = 25  # read before a kill
BATCH = 5  # records the writer puts at once


class StoreCrash(unittest.TestCase):
    writer = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "crash.db"
        self.url = f"sqlite:{self.path}"

    def write_and_kill(self, number, lines):
        """Starts a writer at `number`, kills it once it has acknowledged `lines` writes; returns all it acknowledged."""
        with subprocess.Popen([self.writer, "write", self.url, str(number)], stdout=subprocess.PIPE) as process:
            said = []
            while len(said) < lines and (line := process.stdout.readline()):
                said.append(line)
            process.kill()
            said += process.stdout.readlines()
        self.assertEqual(process.returncode, -9, "the writer ended by itself")
        # A line that was cut short was written before the kill all the same, but says nothing whole.
        return [(kind, int(written)) for kind, written in (line.split() for line in said if line.endswith(b"\n"))]

    def shown(self):
        """Every record of the store: its key and the number in it."""
        process = subprocess.run([self.writer, "show", self.url], capture_output=True, timeout=60, check=False)
        self.assertEqual(process.returncode, 0, process.stderr.decode())
        return dict(line.rsplit(" ", 1) for line in process.stdout.decode().splitlines())

    def check(self, acknowledged, started):
        """`acknowledged`: all writes so far; `started`: the number up to which writes may have begun."""
        found = self.shown()
        for key, number in found.items():
            self.assertNotEqual(number, "torn", f"{key} is not whole")
        hot = max((number for kind, number in acknowledged if kind == b"hot"), default=0)
        self.assertTrue(hot <= int(found.get("hot", 0)) <= started, f"hot: {found.get('hot')}, acknowledged {hot}")
        for kind, number in acknowledged:
            if kind == b"record":
                self.assertEqual(found.get(f"record {number}"), str(number), f"record {number} is lost")
            elif kind == b"batch":
                for i in range(BATCH):
                    self.assertEqual(found.get(f"batch {number}.{i}"), str(number), f"batch {number} lost a record")
        sizes = {}
        for key in found:
            if key.startswith("batch "):
                name = key.removeprefix("batch ").split(".")[0]
                sizes[name] = sizes.get(name, 0) + 1
        self.assertEqual({name: size for name, size in sizes.items() if size != BATCH}, {}, "half a batch")

    def test_what_was_acknowledged_survives_being_killed_again_and_again(self):
        chance = random.Random(20)
        acknowledged = []
        number = 1
        for _ in range(ROUNDS):
            written = self.write_and_kill(number, chance.randint(1, MOST_LINES))
            acknowledged += written
            number = written[-1][1] + 1  # the write that was cut short is begun again
            self.check(acknowledged, number)
        self.assertGreater(len(acknowledged), 2 * ROUNDS)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_a_writer_goes_on_while_others_are_killed(self):
        """A killed process's lock on the file is nobody's: who waited for it gets on."""
        with subprocess.Popen([self.writer, "write", self.url, "1000000"], stdout=subprocess.PIPE) as survivor:
            try:
                self.assertTrue(survivor.stdout.readline())
                number = 1
                for _ in range(5):
                    number = self.write_and_kill(number, 4)[-1][1] + 1
                    for _ in range(4):
                        self.assertTrue(survivor.stdout.readline(), "the other writer has stopped")
            finally:
                survivor.kill()
        self.assertNotIn("torn", self.shown().values())


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--store-writer", required=True)
    options, rest = options.parse_known_args()
    StoreCrash.writer = options.store_writer
    unittest.main(argv=[__file__, *rest], verbosity=1)
