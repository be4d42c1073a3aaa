"""What names of columns and keys mean, in the files of annotation tools, collections and ontologies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
_LEVEL = re.compile(r"(?:level|lvl|l|tier|rank|cat|category|depth)(\d+)(?:name|label|title)?")

SUPER = ("supercategory", "superclass", "supertype", "supergroup")
PARENT = ("parentid", "parentnameusageid", "parenttaxonid", "parentkey", "parentcode", "parenttaxid", "pid",
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
_OTHER = ("index", "count", "images", "description", "commonname", "names", "url", "rank", "taxonrank", "rowid",
          "image", "vernacularname", "scientificnameauthorship", "nameaccordingto", "language", "definition", "level",
          "split", "source", "license", "notes", "remarks", "attributes", "color", "colour")  # fmt: skip
_KNOWN = frozenset(
    {*RANKS, *EPITHET, *SPECIES_NAME, *_GENERAL, *PARENT, *CHILDREN, *IDS, *NAMES, *ACCEPTED, *STATUS, *PATH, *ID_PATH,
     *_OTHER}
)  # fmt: skip
SCHEMA = frozenset(
    {"id", "name", "label", "title", "description", "children", "parent", "parentid", "url", "type", "version",
     "info", "licenses", "license", "images", "annotations", "categories", "supercategory", "attributes", "color", "nc",
     "train", "val", "test", "date", "properties", "metadata", "value", "definition", "restrictions", "childids",
     "data", "level", "classes", "names", "labels", "created", "author", "key", "uuid", "index", "count", "path",
     "items", "nodes", "links", "edges", "options", "columns", "splits", "config", "schema", "taxonomy", "status",
     "context", "graph", "adjacency"}
)  # fmt: skip
"""Keys that name parts of a record, or of a file, rather than classes."""
_PREFIX = re.compile(r"^(?:https?:.*[/#]|[a-z]+:(?=\S))")
_SOME_PARENT = re.compile(r"parent\w+|\w+parent(?:id|key|code|name)?|hypernym\w*")
_SOME_NAME = re.compile(r"(?!file|image|img|user|dir|common|vernacular)\w+(?:name|label|title)")


def word(cell: object) -> str:
    """A column's name without case, blanks and signs: ``parent_id``, ``dwc:parentID`` and ``Parent ID`` are one."""
    return folded(_PREFIX.sub("", str(cell).strip().casefold()))


def find(words: Sequence[str], known: Iterable[str]) -> int | None:
    """The column of the first known word that is there."""
    return next((words.index(name) for name in known if name in words), None)


def parent_column(words: Sequence[str]) -> int | None:
    """The column of each row's parent: by a known word, else ``parent_tsn`` and the like."""
    return find(words, (*PARENT, *filter(_SOME_PARENT.fullmatch, words)))


def name_column(words: Sequence[str], known: Sequence[str] = NAMES) -> int | None:
    """The column of names: by a known word, else ``complete_name`` and the like."""
    return find(words, (*known, *filter(_SOME_NAME.fullmatch, words)))


def speaks_of_columns(row: Sequence[object]) -> bool:
    """Whether cells are words that name columns: two at least, and all but one, or half of many."""
    words = [word(cell) for cell in row if str(cell).strip()]
    known = sum(name in _KNOWN or any(p.fullmatch(name) for p in (_LEVEL, _SOME_PARENT)) for name in words)
    return known >= 2 and (known >= len(words) - 1 or (known >= 3 and 2 * known >= len(words)) or known >= 5)


def ranks_in(words: Sequence[str]) -> list[int]:
    """Columns of biology's ranks, coarse to fine; none where the words do not speak of biology plainly."""
    found = [words.index(rank) for rank in RANKS if rank in words]
    return found if len(found) > 1 and not _PLAINLY_BIOLOGY.isdisjoint(words) else []


def order_of_columns(header: Sequence[str]) -> list[tuple[int, int]]:
    """Columns whose names tell their place from coarse to fine, with that place; none when most do not tell."""
    words = [word(cell) for cell in header]
    numbered = {name: int(match[1]) for name in words if (match := _LEVEL.fullmatch(name))}
    if len(numbered) > 1:
        known = numbered
    elif ranks_in(words):
        known = {rank: place for place, rank in enumerate(RANKS)}
    else:
        known = _GENERAL
    places = [(column, known[name]) for column, name in enumerate(words) if name in known]
    return places if len({place for _, place in places}) > 1 and 2 * len(places) >= len(words) else []


def coarse_and_fine(words: Sequence[str]) -> list[int]:
    """Columns of a record that say ``supercategory``, …, ``name``, coarse to fine; none unless there is one of each."""
    coarse, fine = find(words, _COARSE), find(words, _FINE)
    middle = [words.index(name) for name in _MIDDLE if name in words and name != "type"]
    return [coarse, *middle, fine] if coarse is not None and fine is not None else []
