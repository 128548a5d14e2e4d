"""Certificates of the tests' own, made with openssl: an authority that no one else trusts, and what it signs.

Also how they are kept: as files, and as the records of a store that other software reads too.
"""

import contextlib
import datetime
import functools
import hashlib
import json
import pathlib
import shutil
import sqlite3
import ssl
import tempfile

from harness import PATIENCE, expect, output_of

CONFIG = """
[ca]
default_ca = own
[own]
database = {directory}/index
new_certs_dir = {directory}
rand_serial = yes
unique_subject = no
default_md = sha256
email_in_dn = no
copy_extensions = copy
policy = any
[any]
commonName = optional
"""
KEYS = {"ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "p384": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
        "rsa": ("rsa:2048",)}


def needs(program, package):
    expect(shutil.which(program), f"{program} is missing: Debian's package {package}")
    return program


class Pair:
    """A certificate with what signed it, and its key: two PEM files."""

    def __init__(self, chain, key):
        self.chain, self.key = pathlib.Path(chain), pathlib.Path(key)

    @property
    def leaf(self):
        """The certificate alone."""
        end = "-----END CERTIFICATE-----\n"
        return self.chain.read_text().split(end)[0] + end

    @property
    def fingerprint(self):
        return fingerprint(ssl.PEM_cert_to_DER_cert(self.leaf))

    def put_in_place_of(self, other):
        """As an operator renews: the files of `other` have these contents then."""
        shutil.copy(self.chain, other.chain)
        shutil.copy(self.key, other.key)

    @property
    def request(self):
        """What it was asked for with."""
        return self.chain.with_suffix(".request").read_text()

    def record(self, **more):
        """The text that older software keeps for a name; None leaves a field out."""
        fields = {"fullchain_pem": self.chain.read_text(), "privkey_pem": self.key.read_text(),
                  "cert_pem": self.leaf, "expiry": 1893456000, **more}
        text = json.dumps({name: value for name, value in fields.items() if value is not None})
        return text.replace("/", "\\/")


def fingerprint(der):
    return hashlib.sha256(der).hexdigest()


class Authority:
    """A root, and an intermediate that signs; the files live as long as the program."""

    def __init__(self):
        needs("openssl", "openssl")
        self.kept = tempfile.TemporaryDirectory(prefix="proxycore-ca-")
        self.directory = pathlib.Path(self.kept.name)
        self.directory.chmod(0o755)
        self.config = self.directory / "config"
        self.config.write_text(CONFIG.format(directory=self.directory))
        (self.directory / "index").touch()
        self.count = 0
        self.root = self.directory / "root.pem"
        output_of("openssl", "req", "-x509", "-newkey", *KEYS["ecdsa"], "-nodes", "-days", 100,
                  "-keyout", self.directory / "root.key", "-out", self.root, "-subj", "/CN=proxycore test root",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.signer = Pair(self.root, self.directory / "root.key")
        self.signer = self._sign("intermediate", "ecdsa", -90, 90, [
            "basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign"], chained=False)

    def issue(self, *names, key="ecdsa", ended=False):
        """A certificate for these names."""
        began, ends = (-40, -10) if ended else (-1, 88)
        alternative = ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in names)
        return self._sign(names[0], key, began, ends, [
            f"subjectAltName={alternative}", "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth",
            "crlDistributionPoints=URI:http://ca.test/revoked"])

    def _sign(self, name, key, began, ends, extensions, chained=True):
        self.count += 1
        base = self.directory / str(self.count)
        request, chain, key_file = (base.with_suffix(end) for end in (".request", ".pem", ".key"))
        asked = [part for extension in extensions for part in ("-addext", extension)]
        output_of("openssl", "req", "-new", "-newkey", *KEYS[key], "-nodes", "-keyout", key_file, "-out", request,
                  "-subj", f"/CN={name}", *asked)
        output_of("openssl", "ca", "-batch", "-notext", "-config", self.config, "-cert", self.signer.chain,
                  "-keyfile", self.signer.key, "-in", request, "-out", chain, "-startdate", date(began),
                  "-enddate", date(ends))
        if chained:
            chain.write_text(chain.read_text() + self.signer.chain.read_text())
        return Pair(chain, key_file)


def date(days):
    """Now and so many days, as openssl wants it."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.strftime("%Y%m%d%H%M%SZ")


@functools.cache
def authority():
    return Authority()


class Records:
    """The certificates in a store's SQLite file, as another process writes them."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)

    def put(self, name, text):
        self.put_all([(name, text)])

    def erase(self, name):
        self.put_all([(name, None)])

    def put_all(self, texts):
        """[(name, text)]; None: there shall be none."""
        run = self.connection.execute
        run("BEGIN IMMEDIATE")
        for name, text in texts:
            key = f"{name}:latest"
            run("DELETE FROM records WHERE key = ?", (key,))
            if text is not None:
                run("INSERT INTO records VALUES (?, 'value', ?, NULL)", (key, text))
            run("INSERT INTO changes (key, writer) VALUES (?, 0)", (key,))
        run("COMMIT")

    def close(self):
        self.connection.close()


@contextlib.contextmanager
def records(path):
    """For the test's duration; proxyd has made the file."""
    kept = Records(path)
    try:
        yield kept
    finally:
        kept.close()
