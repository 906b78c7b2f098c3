"""plant.py: every single fault that mutants.py may plant in a C, OpenCL or .def file.

A mutant is a piece of text in place of another one; lines keep their numbers. Left alone are comments, texts
for people, includes, declarations of buffers, and check(), which states what cannot happen.
"""
import collections
import hashlib
import re

Mutant = collections.namedtuple("Mutant", "file line function kind start end text before after key")
Token = collections.namedtuple("Token", "kind text start end")

TOKEN = re.compile(r"""
    (?P<space>\s+|//[^\n]*|/\*.*?\*/|\\\n)
  | (?P<directive>(?<![^\n])[ \t]*\#[ \t]*
                    (?:include|if|ifdef|ifndef|elif|else|endif|undef|pragma|line|error)[^\n]*)
  | (?P<define>(?<![^\n])[ \t]*\#[ \t]*define[ \t]+\w+(?:\([^)]*\))?)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<char>'(?:[^'\\\n]|\\.)+')
  | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[uUlLfF]*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<op><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|.)
""", re.X | re.S)

BINARY = {"<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="],
          "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["*"], "&&": ["||"], "||": ["&&"], "<<": [">>"],
          ">>": ["<<"], "&": ["|"], "|": ["&"], "^": ["|"], "+=": ["-="], "-=": ["+="], "*=": ["/="],
          "/=": ["*="], "|=": ["&="], "&=": ["|="]}
WORDS = {"true": ["false"], "false": ["true"], "MIN": ["MAX"], "MAX": ["MIN"], "min": ["max"], "max": ["min"],
         "fmin": ["fmax"], "fmax": ["fmin"], "break": ["continue"], "continue": ["break"], "on": ["off"],
         "off": ["on"], "FAULT_DATA": ["FAULT_RUN"], "FAULT_USE": ["FAULT_DATA"], "FAULT_RUN": ["FAULT_USE"],
         "TRANS_A": ["TRANS_B"], "TRANS_B": ["TRANS_A"], "sin": ["cos"], "cos": ["sin"]}
DROPPED_CALLS = {"sqrt", "sqrtf", "fabs", "fabsf", "abs", "exp", "expf", "log", "logf", "nearbyint", "round",
                 "floor", "ceil", "llrint", "lrint", "square"}
SYMMETRIC = {"MIN", "MAX", "min", "max", "fmin", "fmax", "fminf", "fmaxf", "strcmp", "strcasecmp"}
KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "else", "do", "case", "defined", "check",
            "enum", "struct", "union", "typedef", "static", "extern", "goto", "__attribute__", "PRINTF",
            "offsetof"}


def tokens_of(text):
    return [Token(m.lastgroup, m.group(), m.start(), m.end()) for m in TOKEN.finditer(text)
            if m.lastgroup != "space"]


def number_changes(text):
    body = text.rstrip("uUlLfF") if not text.lower().startswith("0x") else text.rstrip("uUlL")
    tail = text[len(body):]
    if body.lower().startswith("0x"):
        return [hex(int(body, 16) ^ 1) + tail]
    if re.fullmatch(r"\d+", body):
        n = int(body)
        return [f"{n + 1}{tail}"] + ([f"{n - 1}{tail}"] if n else [])
    v = float(body)
    dot = lambda x: (repr(x) if "." in repr(x) or "e" in repr(x) else repr(x) + ".0") + tail
    return [dot(v * 1.25), dot(v * 0.8)] if v else [dot(0.01)]


def closing(tokens, i):
    """Index of the bracket that closes the one at i."""
    pairs, depth = {"(": ")", "[": "]", "{": "}"}, 0
    for k in range(i, len(tokens)):
        if tokens[k].text in pairs and tokens[k].kind == "op":
            depth += 1
        elif tokens[k].text in (")", "]", "}") and tokens[k].kind == "op":
            depth -= 1
            if not depth:
                return k
    return None


def arguments(tokens, i, end):
    """(start, end) in the text of each argument between the brackets at i and end."""
    out, depth, first = [], 0, i + 1
    for k in range(i + 1, end + 1):
        t = tokens[k]
        if t.kind == "op" and t.text in "([{":
            depth += 1
        elif k < end and t.kind == "op" and t.text in ")]}":
            depth -= 1
        elif (t.text == "," and t.kind == "op" and not depth) or k == end:
            if k > first:
                out.append((tokens[first].start, tokens[k - 1].end))
            first = k + 1
    return out


def at_statement(tokens, i):
    return i == 0 or tokens[i - 1].text in (";", "{", "}", "else", ":") or (
        tokens[i - 1].text == ")" and tokens[i - 1].kind == "op")


def functions_of(text):
    """The function of each line, None outside of one; functions begin and end in the first column."""
    out, name = [None], None
    for line in text.split("\n"):
        if re.match(r"[A-Za-z_]", line):
            found = re.search(r"\b(\w+)\(", re.sub(r"__attribute__\(\(.*?\)\)|PRINTF\(.*?\)", "", line))
            name = found.group(1) if found and not line.startswith(("typedef", "#")) else None
        out.append(name)
        if line.startswith("}"):
            name = None
    return out


def blank(text):
    return "".join(c if c == "\n" else " " for c in text)


def edits(text, tokens, definitions):
    """(kind, start, end, new text)"""
    for i, t in enumerate(tokens):
        before = tokens[i - 1] if i else None
        after = tokens[i + 1] if i + 1 < len(tokens) else None
        spaced = t.start > 0 and t.end < len(text) and text[t.start - 1] in " \n" and text[t.end] in " \n"
        if t.kind == "op" and t.text in BINARY and (spaced or t.text in ("/", "%", "<=", ">=", "==", "!=")):
            for new in BINARY[t.text]:
                yield "operator", t.start, t.end, new
        elif t.kind == "op" and t.text == "-" and after and not (before and (
                before.kind in ("word", "number") and before.text != "return" or before.text in (")", "]"))):
            yield "sign", t.start, t.end, " "
        elif t.kind == "op" and t.text == "!":
            yield "not", t.start, t.end, " "
        elif t.kind == "number" and not (i > 2 and before.text == "[" and after.text == "]"
                                         and tokens[i - 2].kind == tokens[i - 3].kind == "word"):
            failed = i > 1 and before.text == "-" and tokens[i - 2].text == "return" and t.text == "1"
            for new in number_changes(t.text):
                if not (failed and new == "2"):       # callers ask whether it is 0, or below
                    yield "constant", t.start, t.end, new
        elif t.kind == "word" and t.text in WORDS:
            for new in WORDS[t.text]:
                yield "word", t.start, t.end, new
        elif t.kind == "string" and definitions:
            for m in re.finditer(r"(?<![\w.#])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])|\b(?:on|off)\b", t.text):
                for new in WORDS.get(m.group()) or number_changes(m.group()):
                    yield "default", t.start + m.start(), t.start + m.end(), new
            for m in re.finditer(r'(?<=")>(?=\d)', t.text):
                yield "bound", t.start + m.start(), t.start + m.end(), ""
        elif t.text == "?" and t.kind == "op":
            yield from ternary(text, tokens, i)
        if t.kind == "word" and after and after.text == "(" and after.start == t.end:
            yield from call(text, tokens, i)
        if t.kind == "word" and not definitions and at_statement(tokens, i):
            yield from statement(text, tokens, i)


def ternary(text, tokens, i):
    depth, colon = 0, None
    for k in range(i + 1, len(tokens)):
        s = tokens[k].text if tokens[k].kind == "op" else ""
        if s in ("(", "[", "{", "?"):
            depth += 1
        elif s == ":" and depth:
            depth -= 1
        elif s == ":" and colon is None:
            colon = k
        elif s in (")", "]", "}") and depth:
            depth -= 1
        elif s in (")", "]", "}", ",", ";") and not depth:
            if colon and k > colon + 1 > i + 2:
                a = text[tokens[i + 1].start:tokens[colon - 1].end]
                b = text[tokens[colon + 1].start:tokens[k - 1].end]
                middle = text[tokens[colon - 1].end:tokens[colon + 1].start]
                if a != b and "?" not in b:
                    yield "branches", tokens[i + 1].start, tokens[k - 1].end, b + middle + a
            return


def call(text, tokens, i):
    name, end = tokens[i].text, closing(tokens, i + 1)
    if end is None:
        return
    if name == "if":
        condition = text[tokens[i + 1].start:tokens[end].end]
        yield "condition", tokens[i + 1].start, tokens[end].end, f"(!{condition})"
        yield "condition", tokens[i + 1].start, tokens[end].end, f"(0 && {condition})"
    if name in DROPPED_CALLS:
        yield "call", tokens[i].start, tokens[i].end, ""
    line_start = text.rfind("\n", 0, tokens[i].start) + 1
    if name in KEYWORDS | SYMMETRIC or not text[line_start:line_start + 1].isspace():
        return
    args = arguments(tokens, i + 1, end)
    for (a0, a1), (b0, b1) in zip(args, args[1:]):
        a, b = text[a0:a1], text[b0:b1]
        if a != b and not a.startswith('"') and not b.startswith('"') and "..." not in (a, b):
            yield "arguments", a0, b1, b + text[a1:b0] + a


def statement(text, tokens, i):
    """The whole statement left out, if it is a call or an assignment to something declared before."""
    if tokens[i].text in KEYWORDS or tokens[i].text in ("return", "break", "continue", "default", "const"):
        return
    depth = 0
    for k in range(i, len(tokens)):
        s = tokens[k].text if tokens[k].kind == "op" else ""
        if s in ("(", "[", "{"):
            depth += 1
        elif s in (")", "]", "}"):
            depth -= 1
            if depth < 0:
                return
        elif s == ";" and not depth:
            body = text[tokens[i].start:tokens[k].end]
            if "#" in body:
                return
            place = r"(?:->|\.|\[[^=]*?\]|\w)*"
            changes = r"\s*(?:[-+*/|&^]|<<|>>)?=[^=]|" + place + r"(?:\+\+|--);"
            if re.match(r"[\w.]+(?:\(|" + place + changes + ")", body) \
                    and not body.startswith(("check(", "say(", "trace(", "warn(")):
                yield "statement", tokens[i].start, tokens[k].end, blank(body)[:-1] + ";"
            return


def rows(text):
    """Rows of a .def file, NAME(...) from the first column, left out."""
    for m in re.finditer(r"^[A-Z]\w*(?=\()", text, re.M):
        tokens = tokens_of(text[m.start():])
        end = closing(tokens, 1)
        if end and not m.group().startswith(("SECTION", "END")):
            yield "row", m.start(), m.start() + tokens[end].end, blank(text[m.start():m.start()
                                                                            + tokens[end].end])


def is_help(text, start, tokens):
    """Whether the string at start is the last argument of its row: a text for people."""
    k = next(i for i, t in enumerate(tokens) if t.start <= start < t.end)
    while k + 1 < len(tokens) and tokens[k + 1].kind == "string":
        k += 1
    return k + 1 < len(tokens) and tokens[k + 1].text == ")"


def in_declaration(line):
    return re.match(r"\s*(?:static |const |unsigned |struct )*\w+ \**\w+\[[^\]=]*\](?:, \w+\[[^\]=]*\])*;",
                    line)


def mutants_of(file, text):
    definitions = file.endswith(".def")
    tokens, lines, names = tokens_of(text), text.split("\n"), functions_of(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    seen, out = collections.Counter(), []
    line_no = 1
    found = sorted(set(list(edits(text, tokens, definitions)) + (list(rows(text)) if definitions else [])),
                   key=lambda e: (e[1], e[2], e[3]))
    for kind, start, end, new in found:
        while starts[line_no] <= start:
            line_no += 1
        last = line_no
        while starts[last] < end:
            last += 1
        line = lines[line_no - 1]
        if "check(" in line or "_Static_assert" in line or in_declaration(line):
            continue
        if definitions and kind == "default" and "PRESET" not in text[:200] and is_help(text, start, tokens):
            continue
        before = "\n".join(lines[line_no - 1:last])
        after = before[:start - starts[line_no - 1]] + new + before[end - starts[line_no - 1]:]
        squeeze = lambda s: " ".join(s.split())
        identity = (file, names[line_no], squeeze(before), squeeze(after))
        seen[identity] += 1
        key = hashlib.sha1(repr(identity + (seen[identity],)).encode()).hexdigest()[:16]
        if squeeze(before) != squeeze(after):
            out.append(Mutant(file, line_no, names[line_no], kind, start, end, new, before, after, key))
    return out
