"""page_dom.py: is text from files text on a page, wherever it stands? Standard library only.

    python3 tests/page_dom.py PAGE.html TEXT PLACE...   of: text title attribute csv pre code

Prints places where TEXT does not stand as it is, and all that no page of ours may have: handlers, scripts,
pictures and links from elsewhere. Exit 1 when there is any.
"""
import base64
import html.parser
import sys

HOLLOW = {"meta", "link", "br", "img", "input", "circle", "path", "line", "rect", "polygon"}


class Page(html.parser.HTMLParser):
    def __init__(self, page, text):
        super().__init__()
        self.text, self.open, self.found, self.wrong = text, [], set(), []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in HOLLOW:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            value = value or ""
            if name.startswith("on"):
                self.wrong.append(f"<{tag} {name}>")
            if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                self.wrong.append(f"<{tag} {name}={value}>")
            if self.text in value:
                self.found.add("attribute")
            if value.startswith("data:text/csv;base64,"):
                if self.text in base64.b64decode(value.split(",")[1]).decode():
                    self.found.add("csv")
            elif name == "href" and value.startswith("data:"):
                self.wrong.append(f"<{tag}> to {value[:30]}")

    def handle_endtag(self, tag):
        if tag in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(tag):]

    def handle_data(self, data):
        if self.text in data:
            self.found |= {"text"} | {t for t in self.open if t in ("title", "pre", "code")}


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        page = Page(f.read(), sys.argv[2])
    wrong = page.wrong + [f"not in {place}" for place in sys.argv[3:] if place not in page.found]
    print("\n".join(wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
