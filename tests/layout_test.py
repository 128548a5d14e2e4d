"""The rules of the tree: who may include whom, which third-party header stays where, twins, public headers.

The table of arrows is the architecture's; a new arrow is a decision, so it fails here first.
Usage: layout_test.py [--cxx COMPILER] [--cc COMPILER]
"""

import argparse
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIB = ROOT / "lib"
PUBLIC = ROOT / "include/proxycore"

TOP_LEVEL = {
    ".ci", ".clang-format", ".clang-tidy", ".gitattributes", ".gitignore", "LICENSE", "README.md", "apps", "bench",
    "docs", "examples", "include", "lib", "meson.build", "meson_options.txt", "subprojects", "tests", "tools",
}

# Module: the modules it may include, besides itself and the public headers.
ARROWS = {
    "base": "",
    "io": "base",
    "tls": "base io",
    "http": "base",
    "host": "base io redis",
    "redis": "base io",
    "lookup": "base io host redis",
    "origin": "base io tls http host",
    "proxy": "base io tls http host lookup origin",
    "store": "base host redis",
    "auth": "base tls host store",
    "client": "base io tls http",
    "dns": "base io client tls",
    "acme": "base tls client dns",
    "certs": "base tls host store client acme dns",
    "admin": "base io tls host store client dns certs auth",
    "server": "base io tls http host redis lookup origin proxy store auth client dns acme certs admin",
}

# A public header that is the face of a module counts as part of it; the others stand below everything.
FACES = {"server.h": "server", "proxycore.h": "server", "admin.h": "admin", "acme.h": "acme",
         "dns_provider.h": "dns", "dns_plugin.h": "dns"}

# Third-party header: the only folders of lib/ that may include it.
FENCED = {r"uv\.h": {"io", "redis"}, r"(mbedtls|psa|openssl)/.*|ssl_misc\.h|sodium\.h|intel-ipsec-mb\.h": {"tls"},
          r"hiredis/.*": {"redis"}, r"nghttp2/.*": {"http"}, r"crypt\.h": {"auth"}}
# Third-party header: one file of lib/ has it.
ONE_FILE = [r"sqlite3\.h", r"llhttp\.h", r"simdjson\.h", r"toml\+\+/.*", r"idn2\.h", r"libpsl\.h"]

# The services of others that the code itself speaks to; everything else goes by reserved names.
SERVICES = {"acme-v02.api.letsencrypt.org", "acme-staging-v02.api.letsencrypt.org", "api.cloudflare.com",
            "api.digitalocean.com", "api.porkbun.com", "www.duckdns.org"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
TEST_SUPPORT = {"support", "data", "e2e", "fuzz"}
TEXT = {".h", ".cpp", ".c", ".py", ".md", ".toml", ".in", ".service", ".build", ".txt", ".lua", ".sh", ""}


def sources(folder, *suffixes):
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())


def includes(path):
    return [(mark == "<", name) for mark, name in INCLUDE.findall(path.read_text())]


def shown(path):
    return str(path.relative_to(ROOT))


def module_of(path):
    return path.relative_to(LIB).parts[0]


def tracked():
    """The project's files: what git knows, or in an unpacked archive everything that is not built."""
    listing = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        return [path for name in listing.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and path.relative_to(ROOT).parts[0] != "build"]


class Layout(unittest.TestCase):
    maxDiff = None
    cxx = "c++"
    cc = "cc"

    def none(self, faults):
        if faults:
            self.fail("\n" + "\n".join(faults))

    def test_top_level_is_fixed(self):
        self.none([f"{name}: not in the map of the tree" for name in sorted(
            {path.relative_to(ROOT).parts[0] for path in tracked()} - TOP_LEVEL)])

    def test_lib_has_only_known_modules(self):
        self.none([f"lib/{path.name}: no such module in the table of arrows" for path in sorted(LIB.iterdir())
                   if path.is_dir() and path.name not in ARROWS])

    def test_arrows_have_no_cycle(self):
        for module, allowed in ARROWS.items():
            for other in allowed.split():
                self.assertNotIn(module, ARROWS[other].split(), f"{module} and {other} include each other")

    def test_lib_includes_follow_the_arrows(self):
        faults = []
        for path in sources(LIB, ".h", ".cpp", ".c"):
            module = module_of(path)
            allowed = {module, *ARROWS.get(module, "").split()}
            for angled, name in includes(path):
                if name.startswith("proxycore/"):
                    face = FACES.get(name.removeprefix("proxycore/"))
                    if not angled:
                        faults.append(f'{shown(path)}: "{name}": public headers are included as <{name}>')
                    elif face and face not in allowed:
                        faults.append(f"{shown(path)}: <{name}> belongs to {face}, which {module} may not include")
                elif not angled:
                    if not (LIB / name).is_file():
                        faults.append(f'{shown(path)}: "{name}": no such file under lib/')
                    elif name.split("/")[0] not in allowed:
                        faults.append(f'{shown(path)}: "{name}": {module} may include {", ".join(sorted(allowed))}')
        self.none(faults)

    def test_third_party_headers_stay_in_their_folder(self):
        faults = []
        for path in sources(LIB, ".h", ".cpp", ".c"):
            for _, name in includes(path):
                for pattern, folders in FENCED.items():
                    if re.fullmatch(pattern, name) and module_of(path) not in folders:
                        faults.append(f"{shown(path)}: <{name}> is for {', '.join(sorted(folders))} only")
        self.none(faults)

    def test_third_party_headers_of_one_file_stay_in_one_file(self):
        faults = []
        for pattern in ONE_FILE:
            users = [shown(path) for path in sources(LIB, ".h", ".cpp", ".c")
                     if any(re.fullmatch(pattern, name) for _, name in includes(path))]
            if len(users) > 1:
                faults.append(f"{pattern} is included by {', '.join(users)}; one file should have it")
        self.none(faults)

    def test_apps_and_examples_see_the_public_headers_only(self):
        faults = []
        for folder in ("apps", "examples"):
            for path in sources(ROOT / folder, ".h", ".cpp", ".c"):
                for angled, name in includes(path):
                    if not angled and not (path.parent / name).is_file():
                        faults.append(f'{shown(path)}: "{name}": only <proxycore/...> and its own folder')
                    if angled and (LIB / name).is_file():
                        faults.append(f"{shown(path)}: <{name}> is private to lib/")
        self.none(faults)

    def test_classes_of_tests_do_not_share_a_name(self):
        # They are in one program and one namespace: the linker would keep either.
        where, faults = {}, []
        for path in sources(ROOT / "tests/support", ".h"):
            for name in re.findall(r"^(?:class|struct) (\w+)[^;]*$", path.read_text(), re.MULTILINE):
                if name in where:
                    faults.append(f"{shown(path)}: {name} is in {where[name]} already")
                where[name] = shown(path)
        self.none(faults)

    def test_every_source_has_its_twin(self):
        faults = []
        for path in sources(LIB, ".cpp"):
            relative = path.relative_to(LIB)
            twin = ROOT / "tests" / relative.parent / (path.stem + "_test.cpp")
            if not twin.is_file():
                faults.append(f"{shown(path)}: its test {shown(twin)} is missing")
        self.none(faults)

    def test_every_test_has_its_twin(self):
        faults = []
        for path in sources(ROOT / "tests", ".cpp"):
            relative = path.relative_to(ROOT / "tests")
            if len(relative.parts) == 1 or relative.parts[0] in TEST_SUPPORT or not path.stem.endswith("_test"):
                continue
            name = path.stem.removesuffix("_test")
            twins = [LIB / relative.parent / (name + suffix) for suffix in (".cpp", ".h")]
            if not any(twin.is_file() for twin in [*twins, PUBLIC / (name + ".h")]):
                faults.append(f"{shown(path)}: tests neither {shown(twins[0])} nor a header of that name")
        self.none(faults)

    def test_every_source_is_built(self):
        faults = []
        for folder in ("lib", "tests"):
            listed = set()
            for build in (ROOT / folder).rglob("meson.build"):
                names = re.findall(r"'([^']+)'", re.sub(r"#.*", "", build.read_text()))
                if build.parent.name == "fuzz":
                    names = [name + "_fuzz.cpp" for name in names] + names
                listed |= {(build.parent / name).resolve() for name in names}
            faults += [f"{shown(path)}: in no meson.build of {folder}/" for path in sources(ROOT / folder, ".cpp", ".c")
                       if path not in listed]
        self.none(faults)

    def test_every_header_opens_with_a_comment(self):
        headers = [*sources(LIB, ".h"), *sources(PUBLIC, ".h"), *sources(ROOT / "tests", ".h")]
        self.none([f"{shown(path)}: should open with what lives here, who owns it, which thread" for path in headers
                   if not path.read_text().startswith(("//", "/*"))])

    def test_every_header_is_included_once(self):
        headers = [*sources(LIB, ".h"), *sources(PUBLIC, ".h"), *sources(ROOT / "tests", ".h")]
        self.none([f"{shown(path)}: has no #pragma once" for path in headers
                   if "#pragma once" not in path.read_text() and path.name != "dns_plugin.h"])

    def test_public_headers_include_std_and_each_other(self):
        faults = []
        for path in sources(PUBLIC, ".h"):
            for angled, name in includes(path):
                if name.startswith("proxycore/"):
                    if not angled or not (PUBLIC / name.removeprefix("proxycore/")).is_file():
                        faults.append(f"{shown(path)}: {name}: no such public header in angle brackets")
                elif not angled or not re.fullmatch(r"[a-z_]+|std(int|def|bool)\.h", name):
                    faults.append(f"{shown(path)}: {name} is not of the standard library")
        self.none(faults)

    def test_public_headers_compile_alone(self):
        running = []
        faults = []

        def collect():
            path, process = running.pop(0)
            output = process.communicate()[0].decode()
            if process.returncode != 0:
                faults.append(f"{shown(path)} does not compile alone:\n{output}")

        for path in sources(PUBLIC, ".h"):
            compiler = [self.cc, "-std=c99", "-x", "c"] if path.name == "dns_plugin.h" else \
                       [self.cxx, "-std=c++20", "-x", "c++"]
            warnings = ["-Wall", "-Wextra", "-Werror"]
            running.append((path, subprocess.Popen(
                [*compiler, *warnings, "-fsyntax-only", "-I", str(ROOT / "include"), "-include", str(path), os.devnull],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)))
            if len(running) > (os.cpu_count() or 1):
                collect()
        while running:
            collect()
        self.none(faults)

    def test_nothing_names_a_machine(self):
        """Paths of somebody's machine, and addresses that are neither reserved for examples nor this machine's."""
        place = re.compile(r"(?<![\w./$}-])/(?:work|home|root|Users)/[A-Za-z0-9]")
        address = re.compile(r"\b(?:https?|ftp|wss?)://(?:[^\s/@]*@)?\[?([A-Za-z0-9.:-]*[A-Za-z0-9])")
        reserved = re.compile(r"(?:.*\.)?(?:test|example|invalid|localhost|example\.(?:com|net|org))(?::\d+)?"
                              r"|[a-z0-9-]+(?::\d+)?|[\d.]+(?::\d+)?|[0-9a-fA-F:]+")
        faults = []
        for path in tracked():
            if path.suffix not in TEXT or path.name in ("LICENSE", pathlib.Path(__file__).name) or \
                    "fuzz/corpus" in str(path):
                continue
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            for number, line in enumerate(text.splitlines(), 1):
                faults += [f"{shown(path)}:{number}: {found.group(0)}: a path of a machine"
                           for found in place.finditer(line)]
                faults += [f"{shown(path)}:{number}: {found.group(0)}: use a name reserved for examples"
                           for found in address.finditer(line)
                           if not reserved.fullmatch(found.group(1)) and found.group(1) not in SERVICES]
        self.none(faults)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--cxx", default=Layout.cxx)
    options.add_argument("--cc", default=Layout.cc)
    options, rest = options.parse_known_args()
    Layout.cxx, Layout.cc = options.cxx, options.cc
    unittest.main(argv=[__file__, *rest], verbosity=1)
