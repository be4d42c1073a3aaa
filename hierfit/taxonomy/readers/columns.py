"""What names of columns and keys mean, and which texts are no names: annotation tools, collections, ontologies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from hierfit.errors import folded

RANKS = (
    "domain", "superkingdom", "kingdom", "subkingdom", "phylum", "division", "subphylum", "class", "subclass",
    "infraclass", "superorder", "order", "suborder", "infraorder", "superfamily", "family", "subfamily", "tribe",
    "subtribe", "genus", "subgenus", "species", "subspecies", "variety",
)  # fmt: skip
"""Biology's, coarse to fine."""
_PLAINLY_BIOLOGY = frozenset({"kingdom", "phylum", "family", "genus", "species", "subfamily", "superfamily", "tribe"})

EPITHET = ("species", "specificepithet", "speciesepithet", "epithet")
SPECIES_NAME = ("scientificname", "canonicalname", "speciesname", "binomial", "name", "taxonname")

# In biology a class is coarse, elsewhere it is the finest there is.
_COARSE = ("root", "top", "superclass", "superclassname", "supercategory", "supertype", "supergroup", "super",
           "coarse", "coarselabel", "coarseid", "department", "manufacturer", "make", "maincategory",
           "sector")  # fmt: skip
_MIDDLE = ("mid", "middle", "group", "category", "subclass", "subcategory", "subgroup", "type")
_FINE = ("leaf", "fine", "finelabel", "fineid", "class", "classname", "label", "variant", "model", "name")
_GENERAL = {**dict.fromkeys(_COARSE, 0), **dict.fromkeys(_MIDDLE, 1), **dict.fromkeys(_FINE, 2)}
_NUMBERED_LEVEL = re.compile(r"(?:level|lvl|l|tier|rank|cat|category|depth)(\d+)(?:name|label|title)?")

SUPER = ("supercategory", "superclass", "supertype", "supergroup")
_PARENT = ("parentid", "parentnameusageid", "parenttaxonid", "parentkey", "parentcode", "parenttaxid", "pid",
           "parentcategoryid", "parentnodeid", "parent", "parentname", "parents", "parentids", "hypernym", "hypernyms",
           "isa", "subclassof", "broader", "broaderid", "childof", "parentclass", "parentcategory", *SUPER)  # fmt: skip
CHILDREN = ("children", "childids", "childrenids", "childs", "child", "subclasses", "subcategories", "subcategory",
            "narrower", "hyponyms", "nodes", "options", "choices", "members", "subtypes", "items", "sub")  # fmt: skip
IDS = ("taxonid", "id", "nodeid", "childid", "key", "categoryid", "code", "uuid", "taxid", "tsn", "wnid", "gid",
       "usagekey", "conceptid", "classid", "labelid", "identifier", "uri", "iri", "uid", "mid", "uniqueid")  # fmt: skip
NAMES = ("name", "label", "scientificname", "title", "preflabel", "lbl", "canonicalname", "displayname", "text", "term",
         "classname", "categoryname", "taxon", "node", "child", "hyponym", "value", "labelname", "words",
         "topic")  # fmt: skip
ACCEPTED = ("acceptednameusageid", "acceptedid", "acceptedtaxonid", "acceptedtaxonkey", "acceptedkey")
STATUS = ("taxonomicstatus", "status")
PATH = ("path", "fullname", "fullpath", "categorypath", "lineage", "taxonomy", "breadcrumb", "hierarchy", "ancestors",
        "taxon", "classification", "taxonomypath")  # fmt: skip
ID_PATH = ("ancestry", "ancestorids", "idpath")
_BESIDE_NAMES = (
    "index", "count", "images", "description", "commonname", "names", "url", "rank", "taxonrank", "rowid", "image",
    "vernacularname", "scientificnameauthorship", "nameaccordingto", "language", "definition", "level", "split",
    "source", "license", "notes", "remarks", "attributes", "color", "colour",
)  # fmt: skip
KNOWN = frozenset({*RANKS, *EPITHET, *SPECIES_NAME, *_GENERAL, *_PARENT, *CHILDREN, *IDS, *NAMES, *ACCEPTED, *STATUS,
                    *PATH, *ID_PATH, *_BESIDE_NAMES})  # fmt: skip
SCHEMA = frozenset(
    {"id", "name", "label", "title", "description", "children", "parent", "parentid", "url", "type", "version",
     "info", "licenses", "license", "images", "annotations", "categories", "supercategory", "attributes", "color", "nc",
     "train", "val", "test", "date", "properties", "metadata", "value", "definition", "restrictions", "childids",
     "data", "level", "levels", "classes", "names", "labels", "created", "author", "key", "uuid", "index", "count",
     "path", "items", "nodes", "links", "edges", "options", "columns", "splits", "config", "schema", "taxonomy",
     "status", "context", "graph", "adjacency", "split"}
)  # fmt: skip
"""Keys that name parts of a record, or of a file, rather than classes."""
_NAMESPACE = re.compile(r"^(?:https?:.*[/#]|[a-z]+:(?=\S))")
_SOME_PARENT = re.compile(r"parent\w+|\w+parent(?:id|key|code|name)?|hypernym\w*")
_SOME_NAME = re.compile(r"(?!file|image|img|user|dir|common|vernacular)\w+(?:name|label|title)")


def word(cell: object) -> str:
    """A column's name without case, blanks and signs: ``parent_id``, ``dwc:parentID`` and ``Parent ID`` are one."""
    return folded(_NAMESPACE.sub("", str(cell).strip().casefold()))


def first_known(words: Sequence[str], known: Iterable[str]) -> int | None:
    """The column of the first known word that is there."""
    return next((words.index(name) for name in known if name in words), None)


def parent_column(words: Sequence[str]) -> int | None:
    """The column of each row's parent: by a known word, else ``parent_tsn`` and the like."""
    return first_known(words, (*_PARENT, *filter(_SOME_PARENT.fullmatch, words)))


def name_column(words: Sequence[str], known: Sequence[str] = NAMES) -> int | None:
    """The column of names: by a known word, else ``complete_name`` and the like."""
    return first_known(words, (*known, *filter(_SOME_NAME.fullmatch, words)))


def speaks_of_columns(row: Sequence[object]) -> bool:
    """Whether cells are words that name columns: half of them and two at least, or many."""
    words = [word(cell) for cell in row if str(cell).strip()]
    known = sum(name in KNOWN or any(p.fullmatch(name) for p in (_NUMBERED_LEVEL, _SOME_PARENT)) for name in words)
    return known > 1 and (2 * known >= len(words) or known > 4)


def ranks_in(words: Sequence[str]) -> list[int]:
    """Columns of biology's ranks, coarse to fine; none where the words do not speak of biology plainly."""
    found = [words.index(rank) for rank in RANKS if rank in words]
    return found if len(found) > 1 and not _PLAINLY_BIOLOGY.isdisjoint(words) else []


def order_of_columns(header: Sequence[str]) -> list[tuple[int, int]]:
    """Columns whose names tell their place from coarse to fine, with that place; none when most do not tell."""
    words = [word(cell) for cell in header]
    numbered = {name: int(match[1]) for name in words if (match := _NUMBERED_LEVEL.fullmatch(name))}
    ranks = {rank: place for place, rank in enumerate(RANKS)} if ranks_in(words) else _GENERAL
    known = numbered if len(numbered) > 1 else ranks
    places = [(column, known[name]) for column, name in enumerate(words) if name in known]
    return places if len({place for _, place in places}) > 1 and 2 * len(places) >= len(words) else []


def coarse_and_fine(words: Sequence[str]) -> list[int]:
    """Columns of a record that say ``supercategory``, …, ``name``, coarse to fine; none unless there is one of each."""
    coarse, fine = first_known(words, _COARSE), first_known(words, _FINE)
    middle = [words.index(name) for name in _MIDDLE if name in words and name != "type"]
    return [coarse, *middle, fine] if coarse is not None and fine is not None else []


# Which texts are no names ---------------------------------------------------------------------------------------------

_PICTURE_NAME = re.compile(r".*\.(?:jpe?g|png|tiff?|webp|bmp|gif)", re.IGNORECASE)
_MARKUP = re.compile(
    r"[{}<>=]|^\W*$|;$|^[\w.-]+:(?:\s|$)|[\"'] *: *|^\s*(?:def|class|import|return|if|for)\b.*:?$|\w\(.*\)"
    r"|^(?:https?|gid|urn):|^(?:\*+|#+|[-+•‣]) \S"
)
_CODE_TEXT = re.compile(r"[{}<>=]|\w\(.*\)\s*[;{:]|^(?:https?|gid|urn):|;$")
_MEASURE = re.compile(r"\s*[-+]?\d*\.\d+(?:e-?\d+)?\s*")
_SENTENCE = re.compile(r".{101,}|(?:\S+\s+){8,}\S+|.*\.|.*://.*")
_NO_NAME = (
    (re.compile(r"[-+]?[\d.,]+(?:\s.*)?"), "they hold numbers"),
    (re.compile(r".*(?:  |\t).*"), "they hold columns"),
)


def _matches(pattern: re.Pattern[str], texts: Iterable[str]) -> int:
    return sum(pattern.fullmatch(text) is not None for text in texts)


def name_pictures(cells: Collection[str]) -> bool:
    """Whether most texts are names of picture files."""
    return 2 * _matches(_PICTURE_NAME, cells) > len(cells)


def look_like_code(names: Collection[str]) -> bool:
    """Whether a tenth of the names, two at least, look like markup, keys or code."""
    return sum(_MARKUP.search(name) is not None for name in names) >= min(max(2, len(names) // 10), len(names))


def no_names(names: Sequence[str]) -> str:
    """What speaks against texts, one a line, for names of classes, if anything does."""
    if look_like_code(names):
        return "they hold signs of markup, keys or code"
    if len(names) > 1 and all(len(name.split()) == 2 and name.isascii() for name in names):
        return "there are two words in each"
    if _matches(_SENTENCE, names) > len(names) // 10:
        return "they hold sentences"
    for pattern, what in _NO_NAME if len(names) > 1 else ():
        if _matches(pattern, names) >= max(2, len(names) // 10):
            return what
    if sum(word(name) in SCHEMA for name in names) * 2 > len(names):
        return "they are words for columns"
    for begin, name in pairwise(sorted(names)):
        if name.startswith(begin) and re.match(r"\s*[^\w\s\-'’(,&.]", name[len(begin) :]):
            return f"{begin!r} is the beginning of {name!r}"
    if len(names) > 1 and sum(re.search(r"\w\s*[,;|/>]\s*\w", name) is not None for name in names) * 2 > len(names):
        return "most hold a sign that may divide levels"
    return "most come several times" if len(set(names)) * 2 < len(names) else ""


def no_level(cells: Collection[str], one_of_many: bool) -> str:
    """What speaks against the cells of a column, none of them empty, for a level, if anything does."""
    if not cells:
        return ""
    if _matches(_MEASURE, cells) == len(cells):
        return "holds measurements"
    if 2 * sum(_CODE_TEXT.search(cell) is not None for cell in cells) > len(cells):
        return "holds code or markup, not names"
    return "holds 0 and 1 alone: marks for classes, not names" if one_of_many and {*cells} <= {"0", "1"} else ""
