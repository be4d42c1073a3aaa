"""Files as tools, collections and people write them: read rightly, or refused with a way out."""

# ruff: noqa: E501

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hierfit.cli import main
from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.readers import Reading, read_given


def leaves(plan: Plan) -> set[str]:
    """The path of each leaf."""
    paths: list[str] = []
    for name, parent in zip(plan.names, plan.parent.tolist(), strict=True):
        paths.append(f"{paths[parent]}/{name}" if parent >= 0 else name)
    inner = set(plan.parent.tolist())
    return {path for node, path in enumerate(paths) if node not in inner}


def js(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


AB = {"A/B", "A/C"}
BIRDS = {"birds/gulls/kittiwake", "birds/gulls/ivory gull", "birds/auks/puffin"}
RECORDS = [
    {"id": 1, "name": "A", "parent": None},
    {"id": 2, "name": "B", "parent": 1},
    {"id": 3, "name": "C", "parent": 1},
]
RANKED = "taxon,kingdom,family,genus,{}\n1,Animalia,Laridae,Larus,{}\n2,Animalia,Laridae,Larus,{}\n"
LARI = {"Animalia/Laridae/Larus/Larus canus", "Animalia/Laridae/Larus/Larus fuscus"}

LEAVES = [leaf.split("/") for leaf in sorted(BIRDS)]
LINKS = [("birds", "gulls"), ("birds", "auks"), ("gulls", "kittiwake"), ("gulls", "ivory gull"), ("auks", "puffin")]
DRAWN = "birds\n├── gulls\n│   ├── kittiwake\n│   └── ivory gull\n└── auks\n    └── puffin\n"
GRAPH = [{"id": i, "label": name} for i, name in enumerate("ABC")]

READ: dict[str, tuple[str, str | bytes, set[str]]] = {
    # As they are most often
    "leaf first, text": ("a.txt", "\n".join(", ".join(row[::-1]) for row in LEAVES), BIRDS),
    "root first, tabs": ("a.tsv", "\n".join("\t".join(row) for row in [["a", "b", "c"], *LEAVES]), BIRDS),
    "{leaf: ancestors}": ("a.json", js({row[2]: row[1::-1] for row in LEAVES}), BIRDS),
    "{leaf: ancestors}, root first": ("a.json", js({row[2]: row[:2] for row in LEAVES}), BIRDS),
    "parent child, tabs": ("isa.txt", "\n".join(map("\t".join, LINKS)), BIRDS),
    "child parent, commas": ("isa.txt", "\n".join(",".join(link[::-1]) for link in LINKS), BIRDS),
    "nested YAML": ("a.yml", "birds:\n  gulls: [kittiwake, ivory gull]\n  auks:\n  - puffin\n", BIRDS),
    "node-link, links": ("a.json", js({"nodes": GRAPH, "links": [{"source": 0, "target": i} for i in (1, 2)]}), AB),
    "pandas, split": ("a.json", js({"columns": ["top", "leaf"], "index": [0, 1], "data": [["A", "B"], ["A", "C"]]}), AB),
    "drawn": ("a.txt", DRAWN, BIRDS),
    "drawn in ASCII": ("a.txt", DRAWN.replace("├── ", "|-- ").replace("└── ", "+-- ").replace("│  ", "|  "), BIRDS),
    # What words of a header, of keys or of none tell
    "records of levels": ("a.json", js([{"id": i, "level1": "A", "level2": b, "url": "x"} for i, b in enumerate("BC")]), AB),
    "records of three": ("a.json", js([{"coarse": "A", "medium": b, "fine": b + "1"} for b in "BC"]), {"A/B/B1", "A/C/C1"}),
    "records with a path": ("a.jsonl", "\n".join(js({"id": i, "category": f"A > {b}"}) for i, b in enumerate("BC")), AB),
    "an unknown key of children": ("a.json", js([{"name": "A", "subs": [{"name": "B"}, {"name": "C"}]}]), AB),
    "deeper": ("a.json", js({"name": "A", "subs": [{"name": "B", "subs": [{"name": "D"}]}, {"name": "C"}]}), {"A/B/D", "A/C"}),
    "categories": ("a.json", js([{"category": "A", "subcategories": [{"category": "B"}]}, {"category": "C"}]), {"A/B", "C"}),
    "a header above paths": ("a.csv", "category\nA > B\nA > C\n", AB),
    "a name beside its path": ("a.csv", "name,category\nB,A/B\nC,A/C\n", AB),
    "counts": ("a.csv", "level1,level2,count\n737,737-200,0\n737,737-300,7\n", {"737/737-200", "737/737-300"}),
    "no header, what comes again": ("a.csv", "A,B\nA,C\nD,E\n", AB | {"D/E"}),
    "no id has gaps": ("a.csv", "top,mid,leaf\nA,B,1b\n,,2b\n,C,3c\n", {"A/B/1b", "A/B/2b", "A/C/3c"}),
    "drawn below a dot": ("a.txt", ".\n├── A\n│   ├── B\n│   └── C\n└── D\n\n3 directories, 1 file\n", AB | {"D"}),
    # Paths in lines, or in a column of whatever name
    "image,label": ("a.csv", "image,label\n1.jpg,A/B\n2.jpg,A/C\n", AB),
    "sku,product group": ("a.csv", "sku,product group\n1,A > B\n2,A > C\n3,D > E\n", AB | {"D/E"}),
    "inner rows": ("a.txt", "# 2021\nA\nA > B\nA > C\n", AB),
    "id - path": ("a.txt", "1 - A\n17 - A > B\n2 - A > C\n", AB),
    "uri : path": ("a.txt", "x://s/a      : A\nx://s/a-1    : A > B\nx://s/a-2    : A > C\n", AB),
    "arrows": ("a.txt", "A -> B\nA -> C\n", AB),
    "any sign, inner rows": ("a.txt", "A\nA~B\nA~C\n", AB),
    "backslashes": ("a.txt", "birds\\gulls\\kittiwake\nbirds\\gulls\\ivory gull\nbirds\\auks\\puffin\n", BIRDS),
    "rank prefixes": ("a.tsv", "s1\td__A;p__B;c__\ns2\td__A;p__C;c__\n", AB),
    "rank prefixes under a header": ("a.tsv", "id\tTaxon\tConfidence\n1\tk__A; p__B\t0.9\n2\tk__A; p__C\t0.8\n", AB),
    "a path column": ("a.csv", "id,full_name\n1,A\n2,A > B\n3,A > C\n", AB),
    # Records
    "records in wrappings": ("a.json", js({"v": 1, "data": {"nodes": RECORDS}}), AB),
    "records by line": ("a.jsonl", "\n".join(map(js, RECORDS)), AB),
    "records by id": ("a.json", js({str(r["id"]): {"name": r["name"], "parent": r["parent"]} for r in RECORDS}), AB),
    "children by id": ("a.yaml", "- id: a\n  name: A\n  children: [b, c]\n- id: b\n  name: B\n  children: []\n- id: c\n  name: C\n", AB),
    "columns as lists": ("a.json", js({"labels": ["A", "B", "C"], "parents": ["", "A", "A"]}), AB),
    "pandas, by column": ("a.json", js({"name": {"0": "A", "1": "B", "2": "C"}, "parent": {"0": None, "1": "A", "2": "A"}}), AB),
    "jsTree's mark of a root": ("a.json", js([{"id": "x", "parent": "#", "text": "A"}, {"id": "y", "parent": "x", "text": "B"},
                                              {"id": "z", "parent": "x", "text": "C"}]), AB),
    "supercategory": ("a.json", js({"images": [], "categories": [{"id": 1, "name": "B", "supercategory": "A"},
                                                                 {"id": 2, "name": "C", "supercategory": "A"}]}), AB),
    "supercategory that is a category": ("a.json", js({"images": [], "categories": [
        {"id": 0, "name": "A", "supercategory": "none"}, {"id": 1, "name": "B", "supercategory": "A"},
        {"id": 2, "name": "C", "supercategory": "A"}]}), AB),
    "super and subs": ("a.json", js([{"superclass": "A", "subclasses": ["B", "C"]}]), AB),
    "ancestors of each": ("a.json", js([{"name": "B", "ancestors": ["A"]}, {"name": "C", "ancestors": ["A"]}]), AB),
    "{parent: [child]}": ("a.json", js({"birds": ["gulls", "auks"], "gulls": ["kittiwake", "ivory gull"], "auks": ["puffin"]}), BIRDS),
    "options in options": ("a.json", js({"tools": [], "classifications": [{"instructions": "A", "options": [
        {"label": "B", "value": "b"}, {"label": "C", "value": "c"}]}]}), AB),
    "Open Images": ("a.json", js({"LabelName": "A", "Subcategory": [{"LabelName": "B"}, {"LabelName": "C"}]}), AB),
    "counts below names": ("a.json", js({"birds": {"gulls": {"kittiwake": 12, "ivory gull": 3}, "auks": {"puffin": 7, "auk": 2}}}),
                           {*BIRDS, "birds/auks/auk"}),
    # Ranks
    "epithets": ("a.csv", RANKED.format("specific_epithet", "canus", "fuscus"), LARI),
    "species in the name": ("a.csv", RANKED.format("name", "Larus canus", "Larus fuscus"), LARI),
    "Darwin Core": ("taxon.txt", "taxonID\tacceptedNameUsageID\tparentNameUsageID\tscientificName\ttaxonomicStatus\n"
                    "7\t\t\tA\taccepted\n8\t\t7\tB\taccepted\n9\t\t7\tC\taccepted\n10\t8\t7\tBb\tsynonym\n", AB),
    "iNaturalist's ancestry": ("taxa.csv", "taxon_id\tancestry\trank\tname\n1\t\tr\tA\n2\t1\tr\tB\n3\t1\tr\tC\n", AB),
    "gaps": ("a.csv", "id,class,order,species\n1,A,,B\n2,A,,C\n3,D,E,F\n",
             {"A/(A, order not given)/B", "A/(A, order not given)/C", "D/E/F"}),
    "an empty rank": ("a.csv", "id,class,order,species\n1,A,,B\n2,A,,C\n", AB),
    "placeholders": ("a.csv", "class,order,family\nA,B,\nA,B,not_classified\nA,C,NA\nA,NA,NA\nD,E,F\n", {*AB, "D/E/F"}),
    # Tables
    "merged cells": ("a.csv", "class,order,family\nA,B,x\n,,y\n,C,z\n", {"A/B/x", "A/B/y", "A/C/z"}),
    "a staircase": ("a.csv", "class,order\nA,\n,B\n,C\n", AB),
    "an index": ("a.csv", ",order,family,species\n0,A,B,x\n1,A,B,y\n", {"A/B/x", "A/B/y"}),
    "codes beside titles": ("a.csv", "Segment,Segment Title,Class,Class Title\n10,Aa,11,Bb\n10,Aa,12,Cc\n", {"Aa/Bb", "Aa/Cc"}),
    "codes that begin others": ("a.csv", "code,title\n01,A\n0101,B\n0102,C\n", AB),
    "codes with zeros": ("a.csv", "code,title\n10000000,A\n10100000,B\n10200000,C\n", AB),
    "dotted codes": ("a.txt", "1 A\n1.1 B\n1.2 C\n", AB),
    "code, parent, title": ("a.csv", "Code,Parent,Description\nA,,A\n01,A,B\n02,A,C\n", AB),
    "floats for ids": ("a.csv", "id,parent_id,name\n1,,A\n2,1.0,B\n3,1.0,C\n", AB),
    "depths": ("a.csv", "level,name\n1,A\n2,B\n2,C\n", AB),
    "Excel's sep=": ("a.csv", "sep=;\norder;species\nA;B\nA;C\n", AB),
    "a title above": ("a.csv", "Table 1,\norder,species\nA,B\nA,C\n", AB),
    "columns of blanks": ("a.txt", "2\nname  kind\nB     1\nC     1\n", {"1/B", "1/C"}),
    "Markdown's table": ("a.md", "| order | species |\n|---|---|\n| A | B |\n| A | C |\n", AB),
    "UTF-16": ("a.txt", "order\tspecies\nA\tB\nA\tC\n".encode("utf-16"), AB),
    "Windows-1252": ("a.csv", "order,species\nA,Go\xe9land\nA,C\n".encode("cp1252"), {"A/Goéland", "A/C"}),
    # Marked-up text
    "bullets": ("a.md", "- A\n  - B\n  - C\n", AB),
    "headings": ("a.md", "# birds\n## gulls\n- kittiwake\n- ivory gull\n## auks\n- puffin\n", BIRDS),
    "Label Studio": ("a.xml", '<View><Taxonomy name="t"><Choice value="A"><Choice value="B"/><Choice value="C"/></Choice></Taxonomy></View>', AB),
    "OPML": ("a.opml", '<?xml version="1.0"?><opml><body><outline text="A"><outline text="B"/><outline text="C"/></outline></body></opml>', AB),
    "phyloXML": ("a.xml", '<phyloxml xmlns="p"><clade><name>A</name><clade><name>B</name></clade><clade><name>C</name></clade></clade></phyloxml>', AB),
    "Graphviz": ("a.dot", 'digraph G { node [shape=box]; n1 [label="A"]; 2 [label=B]; C; n1 -> {2 C}; }', AB),
    "OBO": ("a.obo", "format-version: 1.2\n\n[Term]\nid: X:1\nname: A\n\n[Term]\nid: X:2\nname: B\nis_a: X:1 ! A\n\n"
            "[Term]\nid: X:3\nname: C\nis_a: X:1\n\n[Term]\nid: X:4\nname: gone\nis_obsolete: true\n", AB),
    "OBO graph": ("a.json", js({"graphs": [{"nodes": [{"id": "u1", "lbl": "A"}, {"id": "u2", "lbl": "B"}, {"id": "u3", "lbl": "C"}],
                                            "edges": [{"sub": "u2", "pred": "is_a", "obj": "u1"}, {"sub": "u3", "pred": "is_a", "obj": "u1"}]}]}), AB),
    "support values": ("a.nwk", "((B:1,C:2)95/0.99:1,(D:1,E:1)95/0.99:2)1.0;", {"above B/B", "above B/C", "above D/D", "above D/E"}),
    "GBIF's taxa": ("Taxon.tsv", "taxonID\tparentNameUsageID\tacceptedNameUsageID\tscientificName\ttaxonomicStatus\tkingdom\tfamily\n"
                    "7\t\t\tA\taccepted\tA\t\n8\t7\t\tB\taccepted\tA\tB\n9\t7\t\tC\taccepted\tA\tC\n10\t7\t8\tBb\tsynonym\tA\tB\n", AB),
    "ITIS": ("a.csv", "tsn,unit_name1,complete_name,parent_tsn,rank_id\n5,A,A,0,60\n6,B,B,5,140\n7,C,C,5,140\n", AB),
    "Open Tree's taxonomy": ("a.tsv", "uid\t|\tparent_uid\t|\tname\t|\trank\t|\tsourceinfo\t|\t\n1\t|\t\t|\tA\t|\tno rank\t|\tsilva:0\t|\t\n"
                             "2\t|\t1\t|\tB\t|\tgenus\t|\tgbif:2\t|\t\n3\t|\t1\t|\tC\t|\tgenus\t|\tgbif:3\t|\t\n", AB),
    "Open Tree's Newick": ("a.tre", "(B_ott1:1,'C (in A) ott2')A_ott3;", {"A_ott3/B_ott1", "A_ott3/C (in A) ott2"}),
    "hypernyms under a header": ("a.tsv", "synset\thypernym\nb.n.01\ta.n.01\nc.n.01\ta.n.01\nd.n.01\tc.n.01\n", {"a.n.01/b.n.01", "a.n.01/c.n.01/d.n.01"}),
    "Google's, with ids": ("a.csv", "1,A,\n17,A,B\n2,A,C\n", AB),
    "any id that parents stand in": ("a.tsv", "My Id\tParent\tName\tTier 1\n150\t\tA\tA\n151\t150\tB\tA\n179\t150\tC\tA\n", AB),
    "bars under a header": ("a.txt", "class|family|species\nbirds|gulls|kittiwake\nbirds|gulls|ivory gull\nbirds|auks|puffin\n", BIRDS),
    "bars with parents": ("a.txt", "id|parent_id|name\n1||A\n2|1|B\n3|1|C\n", AB),
    "Protégé's export": ("a.csv", "Class ID,Preferred Label,Obsolete,Parents\nhttp://x/A,A,false,http://www.w3.org/2002/07/owl#Thing\n"
                         "http://x/B,B,false,http://x/A\nhttp://x/C,C,false,http://x/A\n", AB),
    "SKOS in JSON-LD": ("a.jsonld", js({"@context": {"skos": "x"}, "@graph": [{"@id": f"e:{n}", "skos:prefLabel": n, **({} if n == "A" else {
        "skos:broader": {"@id": "e:A"}})} for n in "ABC"]}), AB),
    "labels by language": ("a.json", js({"conceptSet": [{"uri": "u:A", "prefLabel": {"de": "x", "en": "A"}}, *(
        {"uri": f"u:{n}", "prefLabel": {"en": n}, "broader": ["u:A"]} for n in "BC")]}), AB),
    "adjacency of networkx": ("a.json", js({"directed": True, "nodes": [{"id": n} for n in "ABC"], "adjacency": [[{"id": "B"}, {"id": "C"}], [], []]}), AB),
    "a list of whole paths": ("a.json", js(["A/B", "A/C"]), AB),
    "LVIS's categories": ("a.json", js({"categories": [{"id": 1, "name": "cab", "synset": "cab.n.01"}, {"id": 2, "name": "owl", "synset": "owl.n.01"}]}), {"cab", "owl"}),
    "two controls of Label Studio": ("a.xml", '<View><Taxonomy name="t"><Choice value="A"><Choice value="B"/><Choice value="C"/></Choice></Taxonomy>'
                                     '<Choices name="c"><Choice value="blurred"/><Choice value="sharp"/></Choices></View>', AB),
    "HTML labels of Graphviz": ("a.gv", 'digraph { a [label=<<b>A</b>>]; a -> B; a -> C [color=red]; }', AB),
    "Org mode": ("a.org", "* birds\n** gulls\n*** kittiwake\n*** ivory gull\n** auks\n*** puffin\n", BIRDS),
    "Windows' tree": ("a.txt", "Folder PATH listing for volume OS\r\nVolume serial number is 1-2\r\nA\r\n├───B\r\n└───C\r\n", AB),
    "a staircase without a header": ("a.csv", "birds,,\n,gulls,\n,,kittiwake\n,,ivory gull\n,auks,\n,,puffin\n", BIRDS),
    "UTF-16 without a mark": ("a.csv", "order,species\nA,B\nA,C\n".encode("utf-16-le"), AB),
    "codes below a title": ("a.csv", "Seq. No.,2022 Code,2022 Title\n1,11,A\n2,111,B\n3,112,C\n", AB),
    "ends of a Mac's lines": ("a.txt", "A\r  B\r  C\r", AB),
    "tabs, indented": ("a.txt", "A\n\tB\n\tC\n", AB),
    "lists in YAML": ("a.yaml", "birds:\n  - gulls:\n      - kittiwake\n      - ivory gull\n  - auks:\n      - puffin\n", BIRDS),
    "JSON in a Python file": ("a.py", js({"version": True, "tree": {"A": {"B": {}, "C": {}}}}), AB),
    "a mapping in Python": ("a.py", "import os\nNAMES = ['x']\nTREE = {'A': ['B', 'C']}\n", AB),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read_rightly(tmp_path: Path, case: str) -> None:
    name, content, expected = READ[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given = read_given(Reading(str(path)))
    assert leaves(given.plan()) == expected
    if given.format not in ("nested", "outline"):  # which take wrappings and bullets for names, if asked for
        assert leaves(read_given(Reading(str(path), given.format)).plan()) == expected  # type: ignore[arg-type]
    if isinstance(content, str) and "\r" not in content:
        path.write_bytes(b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())
        assert leaves(read_given(Reading(str(path))).plan()) == expected


REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "an index of classes": ("a.json", js({str(i): [f"n{i}", f"name {i}"] for i in range(4)}), "not certain"),
    "{id: name}": ("a.json", js({str(i): f"name {i}" for i in range(4)}), "not certain"),
    "{name: translation}": ("a.json", js({"apple": "Apfel", "pear": "Birne", "cod": "Dorsch"}), "not certain"),
    "YOLO's settings": ("a.yaml", "train: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n", "not certain"),
    "a package": ("a.json", js({"name": "x", "version": "1", "scripts": {"build": "y"}}), "not certain"),
    "GeoJSON": ("a.json", js({"type": "F", "features": [{"type": "F", "properties": {"name": i}} for i in "abc"]}), "not certain"),
    "labels without a tree": ("a.json", js([{"name": n, "id": i, "attributes": []} for i, n in enumerate("abc")]), "not certain"),
    "levels beside levels": ("a.json", js({"levels": ["order", "species"], "order": ["A"], "species": ["x", "y"]}), "not certain"),
    "a list of pictures": ("a.csv", "filename,label\nim/1.jpg,cat\nim/2.jpg,dog\n", "hierfit data new"),
    "a numbered list": ("a.txt", "".join(f"{i} name {i}\n" for i in range(1, 12)), "--format list"),
    "sentences": ("a.txt", "This data set was made by us.\nIt holds pictures of many kinds.\n", "--format list"),
    "code": ("a.c", "int main() {\n  return 0;\n}\n", "not certain"),
    "a boundary box": ("a.xml", "<annotation><object><name>dog</name></object></annotation>", "this is XML"),
    "edges without direction": ("a.dot", "graph { a -- b }", "which end is the parent"),
    "Markdown with prose": ("a.md", "# Birds\n\nSome words on them.\n\n- birds\n  - gulls\n  - auks\n- fish\n", "others none"),
    "names in two languages": ("a.csv", "CODE;EN;DE\n03-1;Crops;Ernte\n04-2;Cereals;Getreide\n05-5;Flowers;Blumen\n", "--columns"),
    "marks for classes": ("a.csv", "scene,indoor,outdoor\nairfield,0,1\nalley,0,1\nattic,1,0\n", "0 and 1 alone"),
    "a report of reads": ("a.txt", " 50.00\t1\tU\tunclassified\n 30.00\t6\tP\t  Firmicutes\n 20.00\t4\tP\t  Other\n", "measurements"),
    "cells between tabs": ("a.txt", "Birds\tGulls\tKittiwake\n\t\tIvory gull\n\tAuks\tPuffin\n", "--no-header"),
    "Label Studio's export": ("a.json", js([{"id": 1, "annotations": [{"result": [{"value": {"taxonomy": [["A", "B"]]}}]}]}]), "not certain"),
    "OWL, functional": ("a.ofn", "Prefix(:=<http://x#>)\nOntology(<http://x>\nSubClassOf(:b :a)\n)\n", "Convert it to OBO"),
    "GML": ("a.gml", 'graph [\n  directed 1\n  node [ id 0 label "a" ]\n]\n', "networkx.read_gml"),
    "an archive's description": ("meta.xml", '<archive xmlns="http://rs.tdwg.org/dwc/text/"><core/></archive>', "taxon.txt"),
    "NEXUS": ("a.nex", "#NEXUS\nbegin trees;\ntree a = (A,B);\nend;\n", "Export its tree as Newick"),
    "OWL": ("a.owl", '<?xml version="1.0"?>\n<rdf:RDF xmlns:rdf="x"></rdf:RDF>', "an ontology in RDF/XML"),
    "Turtle": ("a.ttl", "@prefix skos: <http://x> .\n<a> skos:broader <b> .\n", "Turtle"),
    "a web page": ("a.html", "<!DOCTYPE html>\n<html><ul><li>a</li></ul></html>", "a web page"),
    "SQL": ("a.sql", "CREATE TABLE t (id int);\n", "SQL"),
    "Mermaid": ("a.mmd", "graph TD\n  A --> B\n", "Mermaid"),
    "TOML": ("a.toml", "[birds]\ngulls = ['a']\n", "TOML"),
    "a label map": ("a.pbtxt", "item {\n  id: 1\n  name: 'cat'\n}\n", "label map"),
    "gzip": ("a.csv", gzip.compress(b"a,b\n"), "Unpack it"),
    "a pickle": ("a.pkl", b"\x80\x04\x95", "pickle"),
    "GBK": ("a.csv", "order,species\n鸟,海鸥\n".encode("gbk"), "neither UTF-8 nor Windows-1252"),
    "Git LFS": ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_way_out(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, message = REFUSED[case]
    path, out = tmp_path / name, tmp_path / "out.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit) as caught:
        main(["taxonomy", "check", str(path), "--fix", str(out)])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_row_without_any_of_the_chosen_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("order,family,note\nA,B,x\n,,y\n")
    with pytest.raises(UserError, match="line 3: the row holds no name"):
        read_given(Reading(str(path), columns=(1, 2))).plan()


def test_ncbis_dumps(tmp_path: Path) -> None:
    nodes = ["1\t|\t1\t|\tno rank\t|", "7\t|\t1\t|\tgenus\t|", "8\t|\t7\t|\tspecies\t|", "9\t|\t7\t|\tspecies\t|"]
    (tmp_path / "nodes.dmp").write_text("\n".join(nodes) + "\n")
    with pytest.raises(UserError, match=r"no names\.dmp"):
        read_given(Reading(str(tmp_path / "nodes.dmp")))
    names = [(1, "root", "scientific name"), (7, "A", "scientific name"), (7, "Alpha", "common name"),
             (8, "B", "scientific name"), (9, "C", "scientific name")]  # fmt: skip
    text = "".join(f"{number}\t|\t{name}\t|\t\t|\t{kind}\t|\n" for number, name, kind in names)
    (tmp_path / "names.dmp").write_text(text)
    assert leaves(read_given(Reading(str(tmp_path / "nodes.dmp"))).plan()) == {"root/A/B", "root/A/C"}


def test_workbooks(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["order", "species"], ["A", "B"], [None, "C"], ["D", 7.0]):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    path = tmp_path / "tree.xlsx"
    book.save(path)
    assert leaves(read_given(Reading(str(path))).plan()) == {*AB, "D/7"}
    other = book.create_sheet("other")
    for row in (["name", "parent"], ["A", None], ["B", "A"], ["C", "A"]):
        other.append(row)
    book.save(path)
    with pytest.raises(UserError, match="choose one of Sheet, other"):
        read_given(Reading(str(path)))
    assert leaves(read_given(Reading(str(path), select="other")).plan()) == AB
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match="damaged"):
        read_given(Reading(str(path)))


def test_the_tree_of_a_feature_bundle_is_taken_as_it_stands(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "features.safetensors"
    facts = {"levels": js(["order", "species"]), "paths": js([["NA", "3.0"], ["NA", "7"], ["lone"]])}
    save_file({"test.features": torch.zeros(1, 2)}, path, metadata=facts)
    assert leaves(read_given(Reading(str(path))).plan()) == {"NA/3.0", "NA/7", "lone"}
    for content in (path.read_bytes()[:60], b"", b"\xff" * 99):
        path.write_bytes(content)
        with pytest.raises(UserError, match="tensors without a tree"):
            read_given(Reading(str(path)))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_character_stops_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    import io
    import sys

    path = tmp_path / "a.csv"
    path.write_text("name,parent\nλάρος,\n海鸥 é,λάρος\nx,y\nz,z\nz,x\n", encoding="utf-8")
    for command in (["check"], ["check", "--json"], ["show"]):
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as caught:
            main(["taxonomy", *command, str(path)])
        for stream in streams.values():
            stream.flush()
        assert caught.value.code == (2 if command == ["show"] else 1)
        written = b"".join(stream.buffer.getvalue() for stream in streams.values())  # type: ignore[attr-defined]
        assert b"several parents" in written
