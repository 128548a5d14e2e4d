"""Reads the files of tests/data/conformance; their README explains the format."""

import re

import origin

RESERVED = "app.test"  # stands for the case's own host, whose name has the same length
REPEAT = re.compile(r"\\\{(\d+)\*((?:[^{}\\]|\\[^{])*)\}")
SEES = re.compile(r"(partial |partial\|whole )?(\d{3}(?:\|\d{3})*)(?: to ([A-Z]+))?(?: times (\d+))?")


class Bad(Exception):
    """A case file is wrong; the text names file and line."""


class Case:
    def __init__(self, file, line, name):
        self.file, self.line_number, self.name = file, line, name
        self.rfc = ""
        self.why = ""
        self.source = None       # the client's address
        self.targets = ["origin"]
        self.record = {}         # more fields of the host's record
        self.send = []           # steps of the client
        self.answers = []
        self.sees = []           # responses
        self.then = None
        self.raw = None          # bytes after the 101, at the client
        self.gets = None         # requests at the origin; [] is nothing at all
        self.gets_raw = None
        self.connections = None  # how many the origin saw
        self.variants = []       # (name, text)

    def where(self):
        return f"{self.file.name}:{self.line_number}"


class Seen:
    """An expected message and what is claimed of it."""

    def __init__(self, start, kind="whole"):
        self.start = start     # "200|404", "GET / HTTP/1.1"
        self.kind = kind       # whole, partial (its end is missing), partial|whole, never whole, any
        self.method = "GET"
        self.claims = []       # (what, name, text); what: "field", "no field", "regex body", ...


def unescape(text, where):
    """Bytes from their visible form: \\r \\n \\t \\0 \\s \\\\ \\xHH \\{3*abc}."""
    while repeated := REPEAT.search(text):
        text = text[:repeated.start()] + repeated[2] * int(repeated[1]) + text[repeated.end():]

    def one(match):
        escape = match[0]
        if escape in simple:
            return simple[escape]
        if escape.startswith("\\x"):
            return chr(int(escape[2:], 16))
        raise Bad(f"{where}: unknown escape {escape!r}")

    simple = {"\\r": "\r", "\\n": "\n", "\\t": "\t", "\\0": "\0", "\\s": " ", "\\\\": "\\"}
    return re.sub(r"\\x[0-9a-fA-F]{2}|\\.", one, text).encode("latin-1")


def _steps(lines, where, known):
    steps = []
    for text in lines:
        directive = re.fullmatch(r"<([a-z -]+?)(?: \"(.*)\")?>", text)
        if directive:
            name, operand = directive.groups()
            if name not in known:
                raise Bad(f"{where}: unknown step <{name}>, expected one of {', '.join(known)}")
            steps.append((name,) if operand is None else (name, unescape(operand, where)))
        elif steps and steps[-1][0] == "send":
            steps[-1] = ("send", steps[-1][1] + unescape(text, where))
        else:
            steps.append(("send", unescape(text, where)))
    return steps


CLIENT_STEPS = ("split", "await client", "await origin", "await answered", "half-close", "close", "reset",
                "each byte", "drip")
ORIGIN_STEPS = ("split", "await", "await client", "await end", "tunnel", "close", "reset", "hang")
ENDS = ("closed", "open", "closed or reset", "any")


def _claims(seen, lines, where):
    for text in lines:
        match = re.fullmatch(r"no (trailer )?([^: ]+)", text)
        if match:
            seen.claims.append(("no trailer" if match[1] else "no field", match[2], None))
            continue
        match = re.fullmatch(r"(body|reason)(?: (~ )?(.*))?", text)
        if match:
            kind, is_regex, value = match.groups()
            value = value or ""
            seen.claims.append((("regex " if is_regex else "") + kind, None,
                                value if is_regex else unescape(value, where)))
            continue
        match = re.fullmatch(r"(framing|connection) (\w+)", text)
        if match:
            seen.claims.append((match[1], None, match[2]))
            continue
        match = re.fullmatch(r"(trailer )?([^: ]+): ?(~ )?(.*)", text)
        if not match:
            raise Bad(f"{where}: not a claim: {text!r}")
        trailer, name, is_regex, value = match.groups()
        kind = ("regex " if is_regex else "") + ("trailer" if trailer else "field")
        seen.claims.append((kind, name, value if is_regex else unescape(value, where).decode("latin-1")))


def _blocks(file):
    """(line number, words of the line, indented lines below it)"""
    blocks = []
    for number, line in enumerate(file.read_text().split("\n"), 1):
        if line != line.rstrip():
            raise Bad(f"{file.name}:{number}: blanks at the end (write \\s)")
        if not line or line.startswith("#"):
            continue
        if line.startswith("    "):
            if not blocks:
                raise Bad(f"{file.name}:{number}: an indented line belongs to nothing")
            blocks[-1][2].append(line[4:])
        else:
            blocks.append((number, line, []))
    return blocks


def _take(case, where, line, below):
    """One block of a case."""
    word, _, rest = line.partition(" ")
    rest = rest.strip()
    if word == "rfc":
        case.rfc = rest
    elif word == "why":
        case.why = " ".join([rest, *(text.strip() for text in below)])
    elif word == "from":
        case.source = rest
    elif word == "targets":
        case.targets = rest.split()
    elif word == "record":
        key, _, value = rest.partition(" ")
        case.record[key] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    elif word == "send":
        case.send += _steps(below, where, CLIENT_STEPS)
    elif word == "answer":
        when = rest.removeprefix("on ") or "request"
        if when not in ("request", "head", "connect"):
            raise Bad(f"{where}: answer on head, or on connect, or without")
        case.answers.append(origin.Answer(_steps(below, where, ORIGIN_STEPS), when))
    elif line == "sees nothing":
        pass
    elif line == "sees raw":
        case.raw = unescape("".join(below), where)
    elif word == "sees":
        match = SEES.fullmatch(rest)
        if not match:
            raise Bad(f"{where}: expected sees [partial|whole] STATUS[|STATUS] [to METHOD] [times N]")
        seen = Seen(match[2], (match[1] or "whole").strip())
        seen.method = match[3] or "GET"
        _claims(seen, below, where)
        case.sees += [seen] * int(match[4] or 1)
    elif word == "then":
        if rest not in ENDS:
            raise Bad(f"{where}: expected then {', '.join(ENDS)}")
        case.then = rest
    elif line == "gets nothing":
        case.gets = []
    elif line == "gets any":
        case.gets = [Seen("", "any")]
        _claims(case.gets[0], below, where)
    elif line == "gets nothing whole":
        case.gets = [Seen("", "never whole")]
    elif line == "gets raw":
        case.gets_raw = unescape("".join(below), where)
    elif word == "gets":
        kind, line = re.fullmatch(r"(partial |partial\|whole )?(.*)", rest).groups()
        seen = Seen(unescape(line, where).decode("latin-1"), (kind or "whole").strip())
        _claims(seen, below, where)
        case.gets = [*(case.gets or []), seen]
    elif word == "connections":
        case.connections = int(rest)
    else:
        raise Bad(f"{where}: unknown word {word!r}")


def _finished(case, where):
    for what, missing in (("rfc", not case.rfc), ("send", not case.send), ("then", not case.then),
                          ("gets", case.gets is None)):
        if missing:
            raise Bad(f"{where}: case {case.name!r} lacks '{what}'")
    return case


def read(file):
    """A draft for every case of a file, each variant of an `each` block as one of its own."""
    cases, gathered = [], None
    for number, line, below in [*_blocks(file), (0, "case", [])]:
        if line.partition(" ")[0] != "case":
            if gathered is None:
                raise Bad(f"{file.name}:{number}: expected 'case NAME' first")
            gathered[2].append((number, line, below))
            continue
        if gathered:
            cases += _expand(file, *gathered)
        gathered = (number, line.partition(" ")[2].strip(), [])
    return cases


def _expand(file, number, name, blocks):
    variants = [("", "")]
    for at, line, below in blocks:
        if line == "each":
            variants = []
            for text in below:
                label, _, value = text.partition("  ")
                variants.append((f": {label}", value.strip()))
    return [(file, number, name + label, [block for block in blocks if block[1] != "each"], value)
            for label, value in variants]


def build(draft, host):
    """The case of a draft from read(), for the host name it shall use."""
    file, number, name, blocks, value = draft
    case = Case(file, number, name)

    def filled(text):
        text = text.replace("\\{it}", value)
        return text.replace(RESERVED, host).replace(RESERVED.upper(), host.upper())

    for at, line, below in blocks:
        _take(case, f"{file.name}:{at}", filled(line), [filled(text) for text in below])
    return _finished(case, f"{file.name}:{number}")
