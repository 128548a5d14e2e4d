"""A strict reader of HTTP/1.x messages (RFC 9112), for both ends of the tests.

Strict, so that a test notices anything doubtful which a proxy lets through: every line ends in CRLF,
names are tokens, values hold no control characters, a length is said once. It reads what is there and
says whether it is complete; the caller brings more bytes and asks again. Bodies are held whole.
"""

import re

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(%s) ([\x21-\x7e]+) (HTTP/1\.[01])" % TOKEN)
STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"(%s):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
                   % TOKEN)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?)")


class Malformed(Exception):
    """The peer broke the rules; the text says how."""


def joined(fields, name):
    """All values of a name as one list, or None."""
    found = [value for key, value in fields if key.lower() == (name or "").lower()]
    return ", ".join(found) if found else None


class Message:
    """One request or response. `complete` is false while its end is missing."""

    def __init__(self, start, fields):
        self.start = start          # ("GET", "/", "HTTP/1.1") or ("HTTP/1.1", 200, "OK")
        self.fields = fields        # [(name, value)] as received
        self.framing = "none"       # none, length, chunked, close
        self.body = b""
        self.trailers = []
        self.complete = False
        self.size = 0               # bytes of the whole message, once complete
        self.connection = 0         # at an origin: which connection it came by, from 1

    @property
    def line(self):
        return " ".join(str(part) for part in self.start)

    @property
    def status(self):
        return self.start[1]

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name):
        return joined(self.fields, name)

    def tokens(self, name):
        return [part.strip().lower() for value in self.values(name) for part in value.split(",")
                if part.strip()]


def _field_lines(block):
    fields = []
    for line in block.split(b"\r\n"):
        match = FIELD.fullmatch(line)
        if not match:
            raise Malformed(f"not a field line: {line!r}")
        fields.append((match[1].decode("latin-1"), match[2].decode("latin-1")))
    return fields


def _head(data, at, pattern, kind):
    end = data.find(b"\r\n\r\n", at)
    line_end = data.find(b"\r\n", at)
    if line_end >= 0 and not pattern.fullmatch(data[at:line_end]):
        raise Malformed(f"not a {kind} line: {data[at:line_end][:200]!r}")
    if end < 0:
        return None
    match = pattern.fullmatch(data[at:line_end])
    fields = _field_lines(data[line_end + 2:end]) if line_end < end else []
    return [part.decode("latin-1") for part in match.groups()], fields, end + 4


def _length(message):
    lengths = message.values("Content-Length")
    codings = message.values("Transfer-Encoding")
    if codings:
        if lengths:
            raise Malformed("Content-Length together with Transfer-Encoding")
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise Malformed(f"Transfer-Encoding is not just chunked: {codings}")
        return "chunked", 0
    if not lengths:
        return None, 0
    if len(lengths) != 1 or not re.fullmatch("[0-9]+", lengths[0]):
        raise Malformed(f"Content-Length is not one number: {lengths}")
    return "length", int(lengths[0])


def _chunks(message, data, at):
    """Reads chunks into the message; returns the offset of the end, or None."""
    body = []
    message.body = b""
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            if b"\n" in data[at:]:
                raise Malformed(f"bare LF in a chunk size: {data[at:at + 80]!r}")
            return None
        match = CHUNK_SIZE.fullmatch(data[at:line_end])
        if not match:
            raise Malformed(f"not a chunk size: {data[at:line_end][:80]!r}")
        size, at = int(match[1], 16), line_end + 2
        if size == 0:
            break
        body.append(data[at:at + size])
        message.body = b"".join(body)
        if len(data) < at + size + 2:
            return None
        if data[at + size:at + size + 2] != b"\r\n":
            raise Malformed("chunk data does not end in CRLF")
        at += size + 2
    if data[at:at + 2] == b"\r\n":
        return at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    message.trailers = _field_lines(data[at:end])
    return end + 4


def _content(message, data, at, framing, length, eof):
    message.framing = framing
    if framing == "chunked":
        end = _chunks(message, data, at)
    elif framing == "length":
        message.body = data[at:at + length]
        end = at + length if len(data) >= at + length else None
    elif framing == "close":
        message.body = data[at:]
        end = len(data) if eof else None
    else:
        end = at
    message.complete = end is not None
    message.size = end or len(data)
    return message


def read_request(data):
    """The first request in `data`, complete or not; None while its head is not complete."""
    head = _head(data, 0, REQUEST_LINE, "request")
    if head is None:
        return None
    start, fields, at = head
    message = Message(tuple(start), fields)
    framing, length = _length(message)
    return _content(message, data, at, framing or "none", length, False)


def read_response(data, method="GET", eof=False):
    """The first response in `data`, to a request with that method; None while its head is not complete."""
    head = _head(data, 0, STATUS_LINE, "status")
    if head is None:
        return None
    (version, status, reason), fields, at = head
    message = Message((version, int(status), reason), fields)
    framing, length = _length(message)
    if method == "HEAD" or message.status < 200 or message.status in (204, 304):
        framing = "none"
    return _content(message, data, at, framing or "close", length, eof)
