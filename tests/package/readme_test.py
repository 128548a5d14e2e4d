"""The commands of README.md, run as a newcomer would; one that this test does not know fails it.

Ports and places are moved (a free port, DESTDIR), so that they can run anywhere. Run by tools/test on build/release.
"""

import json
import os
import pathlib
import re
import select
import shlex
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
SECONDS = 600


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="proxycore-readme-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.left = list(COMMANDS)

    def take(self, beginning):
        """The command of the README that begins so; each is taken once."""
        found = [command for command in self.left if command.startswith(beginning)]
        self.assertTrue(found, f"README.md has no command (left) that begins with: {beginning}")
        self.left.remove(found[0])
        return found[0]

    def shell(self, command, **env):
        finished = subprocess.run(["bash", "-euc", command], cwd=ROOT, env={**os.environ, **env}, timeout=SECONDS,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(finished.returncode, 0, f"{command}\n{finished.stdout}{finished.stderr}")
        return finished.stdout

    def test_1_run_answers_the_line_it_prints(self):
        shown = self.take("curl ")
        running = subprocess.Popen(["bash", "-c", f"exec {self.take('tools/run')} 0"], cwd=ROOT,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        said = ""
        try:
            until = time.monotonic() + SECONDS
            while "Ctrl-C" not in said and time.monotonic() < until:
                if select.select([running.stdout], [], [], 1)[0]:
                    part = os.read(running.stdout.fileno(), 4096)
                    self.assertTrue(part, f"tools/run ended early:\n{said}")
                    said += part.decode()
            line = re.search(r"^ *(curl \S+)$", said, re.MULTILINE)
            self.assertTrue(line, said)
            self.assertEqual(re.sub(r":\d+/", ":8080/", line[1]), shown, "README.md shows another line than tools/run")
            over_tls = re.search(r"^ *(curl --insecure \S+)$", said, re.MULTILINE)
            self.assertTrue(over_tls, said)
            self.assertIn("Hello from the backend", self.shell(over_tls[1] + " -sS"))
            answer = self.shell(line[1] + " -sS -i")
            self.assertIn("HTTP/1.1 200", answer)
            self.assertIn("Hello from the backend", answer)
            self.assertRegex(answer, r"(?i)x-forwarded-for: ")
            manager = re.search(r"^ *(http://localhost:\d+/)$", said, re.MULTILINE)
            password = re.search(r"Log in as admin, .*: (\S+)$", said, re.MULTILINE)
            self.assertTrue(manager and password, said)
            login = json.dumps({"username": "admin", "password": password[1]})
            self.assertIn('"login":true', self.shell(f"curl -sS -H 'Content-Type: application/json' -d '{login}' "
                                                     f"{manager[1]}api/auth/login"))
            self.assertIn("<html", self.shell(f"curl -sSL {manager[1]}").lower())
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGINT)  # Ctrl-C
            rest = running.communicate(timeout=60)[0]
        self.assertEqual(running.returncode, 0, said + rest.decode())

    def test_2_test_is_what_is_run_before_acceptance(self):
        command = self.take("tools/test")
        self.assertTrue(os.access(ROOT / command, os.X_OK))
        self.assertIn("/" + command, (ROOT / ".ci/run").read_text())

    def test_3_build_and_install(self):
        self.assertEqual(self.shell(self.take("tools/setup")), "")
        self.shell(self.take("meson setup"))
        self.shell(self.take("ninja"))
        self.shell(self.take("sudo meson install").removeprefix("sudo "), DESTDIR=str(self.folder))

    def test_4_embed(self):
        found = [path.parent for path in self.folder.rglob("proxycore.pc")]
        self.assertEqual(len(found), 1)
        command = self.take("c++").replace("build/embed", shlex.quote(str(self.folder / "embed")))
        self.shell(command, PKG_CONFIG_PATH=str(found[0]))
        example = (ROOT / "examples/embed/main.cpp").read_text()
        self.assertEqual([block in example for block in blocks("cpp")], [True],
                         "README.md should show the code of examples/embed/main.cpp")

    def test_5_no_command_is_left(self):
        self.assertEqual(self.left, [], "README.md names commands that no test runs")

    def test_6_links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#]+)\)", README):
            self.assertTrue((ROOT / target).exists(), f"README.md links to {target}")


if __name__ == "__main__":
    unittest.main()
