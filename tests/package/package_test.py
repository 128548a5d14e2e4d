"""What `meson install` gives, used from outside: headers, both libraries, pkg-config file, programs, unit.

Usage: package_test.py --build FOLDER --outside outside.cpp --cxx COMPILER
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OPTIONS = argparse.Namespace()


def output(*command, **env):
    finished = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=300,
                              check=False)
    assert finished.returncode == 0, f"{' '.join(command)}: status {finished.returncode}\n{finished.stderr}"
    return finished.stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="proxycore-package-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        output("meson", "install", "-C", OPTIONS.build, "--no-rebuild", "--quiet", DESTDIR=str(cls.folder))
        options = {option["name"]: option["value"]
                   for option in json.loads(output("meson", "introspect", "--buildoptions", OPTIONS.build))}
        cls.prefix = cls.folder / options["prefix"].lstrip("/")
        cls.libraries = cls.prefix / options["libdir"]

    def pkg_config(self, *arguments):
        return shlex.split(output("pkg-config", *arguments, "proxycore",
                                  PKG_CONFIG_PATH=str(self.libraries / "pkgconfig")))

    def built(self, name, *flags):
        program = self.folder / name
        output(OPTIONS.cxx, "-std=c++20", "-O1", OPTIONS.outside, "-o", str(program), *flags, "-pthread")
        return str(program)

    def check_answer(self, answer):
        self.assertTrue(answer.startswith("HTTP/1.1 200 "), answer)
        self.assertTrue(answer.endswith("\n\nhello, outside.test\n"), answer)

    def test_every_public_header_is_there(self):
        public = ROOT / "include"
        expected = sorted(str(path.relative_to(public)) for path in public.rglob("*.h"))
        there = sorted(str(path.relative_to(self.prefix / "include")) for path in self.prefix.rglob("*.h"))
        self.assertEqual(there, expected)

    def test_a_program_links_the_shared_library(self):
        program = self.built("shared", *self.pkg_config("--cflags", "--libs"))
        self.assertIn("libproxycore.so.0", output("ldd", program, LD_LIBRARY_PATH=str(self.libraries)))
        self.check_answer(output(program, LD_LIBRARY_PATH=str(self.libraries)))

    def test_a_program_links_the_archive(self):
        flags = self.pkg_config("--static", "--cflags", "--libs")
        program = self.built("static", *("-l:libproxycore.a" if flag == "-lproxycore" else flag for flag in flags))
        self.assertNotIn("libproxycore", output("ldd", program))
        self.check_answer(output(program))

    def test_the_shared_library_shows_only_its_own_names(self):
        names = output("nm", "-D", "--defined-only", str(self.libraries / "libproxycore.so")).splitlines()
        self.assertTrue(names)
        self.assertEqual([name for name in names if "9proxycore" not in name], [])

    def test_the_version_is_one(self):
        version = self.pkg_config("--modversion")[0]
        self.assertIn(version, output(str(self.prefix / "bin/proxyd"), "--version"))

    def units(self):
        return sorted((self.prefix / "lib/systemd/system").glob("*.service"))

    def test_every_unit_starts_what_was_installed(self):
        self.assertEqual([unit.name for unit in self.units()],
                         ["proxy-admin.service", "proxy-renew.service", "proxyd.service"])
        for unit in self.units():
            start = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
            program = start.removeprefix("ExecStart=").split()[0]
            self.assertTrue(os.access(self.folder / program.lstrip("/"), os.X_OK), start)

    def test_systemd_has_nothing_to_say_of_the_units(self):
        self.assertTrue(shutil.which("systemd-analyze"), "systemd-analyze is missing: tools/setup installs systemd")
        here = self.folder / "units"
        here.mkdir()
        for unit in self.units():
            # It looks for the program, too: where it is for now.
            (here / unit.name).write_text(unit.read_text().replace("ExecStart=", f"ExecStart={self.folder}"))
        names = [str(here / unit.name) for unit in self.units()]
        said = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True,
                              timeout=300, check=False)
        self.assertEqual((said.returncode, said.stdout + said.stderr), (0, ""))
        # Of 100, 0 is the least that a service may do wrong: nothing that restricts ours gets lost.
        for name in names:
            output("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=25", name)

    def test_the_sample_configuration_is_valid(self):
        sample = self.prefix / "share/doc/proxycore/proxyd.toml"
        output(str(self.prefix / "bin/proxyd"), "--check", "--config", str(sample))


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--build", required=True)
    options.add_argument("--outside", required=True)
    options.add_argument("--cxx", default="c++")
    _, rest = options.parse_known_args(namespace=OPTIONS)
    unittest.main(argv=[__file__, *rest])
