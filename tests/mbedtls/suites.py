"""mbedTLS's own test suites, run against the library as the project builds it: with the driver under it, or without.

A release of mbedTLS has its suites as templates and data, from which a script of it makes C. Left out are the cases
that ask for the example driver, whose place ours has (PSA_CRYPTO_DRIVER_TEST).
Usage: suites.py --wrap FILE --config FILE --include FOLDER --work FOLDER --cc COMPILER... -- LINK ARGUMENTS
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

# What runs over the driver, or beside it: TLS, certificates, keys, PSA, and the algorithms themselves.
SUITES = {
    "chachapoly": ["chachapoly"], "ecdh": ["ecdh"], "ecdsa": ["ecdsa"], "hkdf": ["hkdf"], "pk": ["pk"],
    "gcm": ["gcm.aes128_de", "gcm.aes128_en", "gcm.aes256_de", "gcm.aes256_en"],
    "md": ["md.psa"], "pkparse": ["pkparse"], "pkwrite": ["pkwrite"], "random": ["random"], "rsa": ["rsa"],
    "psa_crypto": ["psa_crypto", "psa_crypto.concurrent"], "psa_crypto_hash": ["psa_crypto_hash"],
    "psa_crypto_op_fail": ["psa_crypto_op_fail.generated"], "psa_crypto_slot_management": ["psa_crypto_slot_management"],
    "psa_crypto_generate_key": ["psa_crypto_generate_key.generated"], "shax": ["shax"],
    "ssl": ["ssl", "ssl.records", "ssl.tls-defrag"], "ssl_decrypt": ["ssl_decrypt.misc"],
    "x509parse": ["x509parse"], "x509write": ["x509write"],
}
HELPERS = ["framework/tests/src/*.c", "tests/src/*.c", "tests/src/test_helpers/*.c"]
EXAMPLE_DRIVER = re.compile(r"(?<!!)PSA_CRYPTO_DRIVER_TEST")


class Suites:
    def __init__(self, options):
        folder = re.search(r"^directory = (.*)$", options.wrap.read_text(), re.MULTILINE)[1]
        self.source = options.wrap.resolve().parent / folder
        self.work = options.work.resolve()
        self.compiler = options.cc
        self.link = options.link
        include = [self.source / folder for folder in
                   ("framework/tests/include", "tests/include", "include", "library", "3rdparty/everest/include")]
        self.flags = ["-std=c11", "-O1", "-w", f'-DMBEDTLS_USER_CONFIG_FILE="{options.config.resolve()}"',
                      "-D_POSIX_C_SOURCE=200809L", *(f"-I{folder}" for folder in [*options.include, *include])]
        # The suites find their data at ../framework of where they run, and leave files there.
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "tests").mkdir(parents=True)
        (self.work / "tests/framework").symlink_to(self.source / "framework")

    def compile(self, source):
        target = self.work / (source.stem + ".o")
        subprocess.run([*self.compiler, *self.flags, "-c", str(source), "-o", str(target)], check=True)
        return target

    def helpers(self, pool):
        sources = [path for pattern in HELPERS for path in sorted(self.source.glob(pattern))]
        return list(pool.map(self.compile, sources))

    def program(self, function, data, helpers):
        """The executable of one data file."""
        cases = (self.source / f"tests/suites/test_suite_{data}.data").read_text().split("\n\n")
        kept = self.work / f"test_suite_{data}.data"
        kept.write_text("\n\n".join(case for case in cases if not EXAMPLE_DRIVER.search(case)) + "\n")
        suites = self.source / "tests/suites"
        subprocess.run([sys.executable, str(self.source / "framework/scripts/generate_test_code.py"),
                        "-f", str(suites / f"test_suite_{function}.function"), "-d", str(kept),
                        "-t", str(suites / "main_test.function"), "-p", str(suites / "host_test.function"),
                        "-s", str(suites), "--helpers-file", str(suites / "helpers.function"),
                        "-o", str(self.work)], check=True, stdout=subprocess.DEVNULL)
        target = self.work / f"test_suite_{data}"
        made = self.compile(self.work / f"test_suite_{data}.c")
        # The suites bring random numbers of their own, which they can make fail.
        subprocess.run([*self.compiler, "-Wl,--allow-multiple-definition", str(made), *map(str, helpers),
                        "-o", str(target), *self.link], check=True)
        return target

    def run(self, function, data, helpers):
        """How many cases passed, and what the failed ones say."""
        program = self.program(function, data, helpers)
        place = self.work / "tests" / data
        place.mkdir()
        done = subprocess.run([str(program), str(program.with_suffix(program.suffix + ".datax"))], cwd=place,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=280)
        output = done.stdout.decode(errors="replace")
        found = re.search(r"(PASSED|FAILED) \((\d+) / (\d+) tests \((\d+) skipped\)\)", output)
        if not found:
            return 0, [f"{data}: ended with status {done.returncode}\n{output[-2000:]}"]
        failures = [f"{data}: {line}" for line in output.splitlines() if re.search(r"\.\. FAILED|^  at |^  test", line)]
        if int(found[2]) < int(found[3]) or done.returncode != 0:
            failures = failures or [output[-2000:]]
        else:
            failures = []
        return int(found[2]) - int(found[4]), failures


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--wrap", type=pathlib.Path, required=True, help="beside which the sources are")
    arguments.add_argument("--config", type=pathlib.Path, required=True)
    arguments.add_argument("--include", type=pathlib.Path, action="append", default=[])
    arguments.add_argument("--work", type=pathlib.Path, required=True)
    arguments.add_argument("--cc", required=True, nargs="+")
    arguments.add_argument("link", nargs="+", help="libraries")
    arguments.add_argument("--only", nargs="*", help="these suites")
    options = arguments.parse_args()
    suites = Suites(options)
    passed = 0
    failures = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        helpers = suites.helpers(pool)
        running = {data: pool.submit(suites.run, function, data, helpers) for function, datas in SUITES.items()
                   for data in datas if not options.only or function in options.only}
        for data, run in running.items():
            count, faults = run.result()
            print(f"{data}: {count}", flush=True)
            passed += count
            failures += faults
    print("\n".join(failures))
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
