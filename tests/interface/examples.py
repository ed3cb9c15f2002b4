#!/usr/bin/env python3
"""Names what the SDKs show to their users without an example.

    tests/interface/examples.py RUSTDOC_JSON...

Reads rustdoc's descriptions of crates; what one passes on from another that is given too is looked up there. A type, trait,
function, macro or constant needs an example in its own documentation; a method one in its own or its type's that uses it
by name. Fields and variants share their type's, and what a trait or a derive demands needs none. Prints a line per item
that has none; exit code 1 if there is one.
"""
import json
import re
import sys

ALONE = ("struct", "enum", "trait", "function", "macro", "constant", "type_alias", "proc_macro")


def kind_of(item):
    return next(iter(item["inner"].items()))


def examples(item):
    """The text of all examples in an item's documentation."""
    return "\n".join((item["docs"] or "").split("```")[1::2])


class Crates:
    def __init__(self, files):
        self.crates = {}
        for file in files:
            with open(file) as text:
                crate = json.load(text)
            self.crates[crate["index"][str(crate["root"])]["name"]] = crate
        self.seen = set()

    def bare(self):
        for name, crate in self.crates.items():
            # A crate that others pass on is looked at where they do.
            if name != "lifeboat_protocol":
                yield from self.below(crate, crate["root"], [name])

    def find(self, crate, number):
        """An item and the crate that defines it; None for crates that nobody gave."""
        item = crate["index"].get(str(number))
        if item is not None:
            return crate, item
        path = crate["paths"][str(number)]["path"]
        home = self.crates.get(path[0])
        if home is None:
            return None
        ids = [id for id, known in home["paths"].items() if known["crate_id"] == 0 and known["path"] == path]
        return home, home["index"][ids[0]]

    def below(self, crate, number, path):
        found = self.find(crate, number)
        if found is None:
            return
        crate, item = found
        kind, inner = kind_of(item)
        if kind == "use":
            yield from self.below(crate, inner["id"], path + [inner["name"]])
            return
        if (id(crate), item["id"]) in self.seen:
            return
        self.seen.add((id(crate), item["id"]))
        if kind == "module":
            for child in inner["items"]:
                name = crate["index"].get(str(child), {}).get("name")
                yield from self.below(crate, child, path + ([name] if name else []))
            return
        if kind in ALONE and not examples(item):
            yield f"{kind} {'::'.join(path)}"
        for method in self.methods(crate, kind, inner):
            if not examples(method) and not re.search(rf"\b{method['name']}\b", examples(item)):
                yield f"method {'::'.join(path)}::{method['name']}"

    @staticmethod
    def methods(crate, kind, inner):
        """What can be called on a type or a trait, without what other traits ask of it."""
        blocks = [inner["items"]] if kind == "trait" else []
        for number in inner["impls"] if kind in ("struct", "enum") else []:
            block = crate["index"][str(number)]["inner"]["impl"]
            if block["trait"] is None and not block["is_synthetic"]:
                blocks.append(block["items"])
        for number in (number for block in blocks for number in block):
            item = crate["index"].get(str(number))
            if item is not None and kind_of(item)[0] == "function":
                yield item


def main():
    missing = sorted(Crates(sys.argv[1:]).bare())
    print("\n".join(missing))
    sys.exit(1 if missing else 0)


main()
