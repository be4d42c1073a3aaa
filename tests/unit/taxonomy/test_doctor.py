"""The doctor says everything at once, and mends what has one remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hierfit.cli import main
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy, doctor, read_taxonomy
from hierfit.taxonomy.readers import Reading, read_given

SHARED = Path(os.environ.get("HIERFIT_SHARED", Path(__file__).parents[4] / "shared" / "data")) / "taxonomies"


def never(texts: list[str]) -> list[int]:
    raise AssertionError("short names need no tokeniser")


def examine(folder: Path, content: str, name: str = "tree.csv", **options: Any) -> doctor.Report:
    path = folder / name
    path.write_text(content)
    return doctor.examine(read_given(Reading(str(path), **options), placed=True), never)


def kinds(report: doctor.Report, severity: str) -> list[str]:
    return [finding.kind for finding in report.findings if finding.severity == severity]


def text_of(report: doctor.Report, kind: str) -> str:
    (finding,) = (finding for finding in report.findings if finding.kind == kind)
    return "\n".join([finding.text, *finding.details])


BIRDS = "order,family,species\nwaders,gulls,kittiwake\nwaders,gulls,herring gull\nwaders,auks,puffin\n"


def test_a_sound_tree_has_no_problem(tmp_path: Path) -> None:
    report = examine(tmp_path, BIRDS)
    assert not report.problems
    assert (report.sizes, report.levels, report.num_leaves) == ((1, 2, 3), ("order", "family", "species"), 3)
    assert text_of(report, "siblings") == "HiSCE acts on 2 of 3 leaves; the others have no sibling"
    assert text_of(report, "single-child").startswith("1 of 3 inner nodes have a single child\n'auks'")


def test_everything_at_once(tmp_path: Path) -> None:
    rows = "".join(f"waders,gulls,gull {i}\n" for i in range(9))
    report = examine(
        tmp_path,
        BIRDS + rows + "rollers,gulls,lost gull\nwaders,auks,puffin\nwaders,,gap\nwaders,auks\nwaders, skuas,skua\n"
        "waders,Auks,auklet\nsparrows,finches,kittiwake\n",
    )
    assert sorted(kinds(report, "problem")) == ["blank", "repeated", "several-parents"]
    assert text_of(report, "several-parents") == (
        "'gulls' has several parents\nunder waders: 11 of 12 rows\nunder rollers: 1 of 12 rows: lost gull (line 14)"
    )
    assert "'(waders, family not given)': 1 rows, first line 16" in text_of(report, "gap")
    assert "line 4, line 15" in text_of(report, "repeated")
    assert "'auks' (line 17)" in text_of(report, "inner-rows")
    assert "'auks' and 'Auks' differ in case" in text_of(report, "alike-names")
    assert "'kittiwake': waders / gulls / kittiwake, sparrows / finches / kittiwake" in text_of(
        report, "ambiguous-name"
    )


def test_links_that_are_no_tree(tmp_path: Path) -> None:
    report = examine(tmp_path, "name,parent\na,\nb,a\nc,a\nd,b\nd,c\ne,f\nf,e\ng,cc\n")
    assert sorted(kinds(report, "problem")) == ["cycle", "misspelt-parent", "several-parents"]
    assert text_of(report, "cycle").endswith("'e' (line 7) → 'f' (line 8) → 'e'")
    assert "'d' has several parents: 'b' (line 5), 'c' (line 6)" in text_of(report, "several-parents")
    assert report.sizes == (2, 2, 1)  # a and g; what hangs on the cycle is not counted


def test_levels_out_of_order(tmp_path: Path) -> None:
    rows = "".join(f"waders,gulls,gull {i}\n" for i in range(9))
    report = examine(tmp_path, "order,family,species\n" + rows + "gulls,waders,kittiwake\n")
    assert kinds(report, "problem") == ["level-order", "level-order"]
    text = "\n".join(detail for finding in report.findings for detail in finding.details)
    assert "under nothing: 1 of 10 rows: kittiwake (line 11)" in text
    content = "genus,kingdom,species\n" + "Larus,Animalia,argentatus\nLarus,Animalia,canus\n"
    turned = examine(tmp_path, content, format="paths")
    assert "Usual is kingdom, genus, species" in next(f.advice for f in turned.findings if f.kind == "level-order")


def mended(report: doctor.Report, accepted: Sequence[str] = ()) -> Taxonomy:
    return Taxonomy.of_plan(replace(report.given, form=doctor.mended(report.given.form, accepted)).plan())


def families(tree: Taxonomy) -> list[set[str]]:
    """Leaves that are siblings."""
    names = [[tree.names[leaf] for leaf in tree.children(node).tolist() if tree.num_children[leaf] == 0]
             for node in range(-1, tree.num_nodes)]  # fmt: skip
    return [set(family) for family in names if family]


GULLS = [f"gull {i}" for i in range(9)]
BROKEN = (
    "order,family,species\n" + "".join(f"waders,gulls,{name}\n" for name in GULLS) + "rollers,gulls,lost\n"
    "gulls,waders,turned\nwaders,gulls, gull 3\nwaders,gulls\n"
    "waders,auks,puffin\nwaders,Auks,auklet\nwaders,auks,murre\n"
)


def test_a_mend_keeps_leaves_and_their_siblings(tmp_path: Path) -> None:
    report = examine(tmp_path, BROKEN)
    expected = [{"turned"}, {"auklet"}, {"puffin", "murre"}, {"lost"}, set(GULLS)]
    assert sorted(map(sorted, families(mended(report)))) == sorted(map(sorted, expected))
    assert {f.kind for f in report.findings if f.mend == "asked"} == {"level-order", "alike-names"}


def test_judgements_are_made_where_they_are_accepted(tmp_path: Path) -> None:
    broken = examine(tmp_path, BROKEN)
    expected = [("waders", "gulls", name) for name in (*GULLS, "lost", "turned")]
    expected += [("waders", "auks", name) for name in ("puffin", "auklet", "murre")]
    assert mended(broken, doctor.JUDGEMENTS) == Taxonomy.from_paths(expected, ["order", "family", "species"])
    lines = doctor.diff(broken.given.form, doctor.mended(broken.given.form, doctor.JUDGEMENTS), "old", "new")
    assert lines[:2] == ["--- old", "+++ new"]
    assert "-rollers,gulls,lost" in lines
    assert "+waders,gulls,lost" in lines
    assert not any(line.endswith("gull 8") for line in lines if line[0] in "+-")


def test_remedies_of_links(tmp_path: Path) -> None:
    broken = examine(tmp_path, "name,parent\na,\nb,a\nc ,a\nd,b\nd,b\nf,new\ng,new\n")
    assert mended(broken) == Taxonomy.from_parents(["a", "b", "c", "d", "f", "g", "new"], [
        None, "a", "a", "b", "new", "new", None
    ])  # fmt: skip
    for content, kind in (("d,a\nd,b\n", "several-parents"), ("e,B\n", "misspelt-parent")):
        report = examine(tmp_path, "name,parent\na,\nb,a\n" + content)
        assert kinds(report, "problem") == [kind]
        with pytest.raises(UserError):
            mended(report)


@pytest.mark.parametrize(
    ("name", "content", "mendable"),
    [
        ("t.nwk", "((a,b)x,(c,d)x)r;", False),
        ("t.json", '{"x": {"a": {"p": null}}, "x": {"b": {"q": null}}}', False),
        ("t.txt", "r\n  x\n    a\n  x\n    b\n", False),
        ("t.nwk", "((a,a)x,(c,d)y)r;", True),
        ("t.txt", "r\n  a\n  b\n  b\n", True),
    ],
)
def test_nodes_of_one_name_are_joined_only_if_they_are_leaves(
    tmp_path: Path, name: str, content: str, mendable: bool
) -> None:
    report = examine(tmp_path, content, name)
    assert kinds(report, "problem") == ["repeated" if mendable else "same-name"]
    if mendable:
        mended(report)
    else:
        with pytest.raises(UserError):
            mended(report)


def test_rows_of_one_path_that_differ_elsewhere_are_no_duplicates(tmp_path: Path) -> None:
    content = "taxon,kingdom,genus,family\n1,Animalia,Parus,Paridae\n2,Animalia,Parus,Paridae\n3,Animalia,Corvus,C\n"
    report = examine(tmp_path, content)
    assert kinds(report, "problem") == ["same-path"]
    with pytest.raises(UserError):
        mended(report)
    assert mended(report, ["same-path"]).num_leaves == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "birds.csv", tmp_path / "mended.csv"
    rows = BIRDS + "".join(f"waders,gulls,{name}\n" for name in GULLS)
    path.write_text(rows + "waders,gulls,gull 3\nrollers,gulls,lost gull\n")
    with pytest.raises(SystemExit) as caught:
        main(["taxonomy", "check", str(path)])
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert "2 problems" in printed
    assert "-waders,gulls,gull 3" in printed
    assert "-rollers,gulls,lost gull" not in printed
    with pytest.raises(SystemExit) as caught:
        main(["taxonomy", "check", str(path), "--fix", str(out)])
    assert caught.value.code == 1
    assert "1 of its problems are for you to decide (several-parents)" in capsys.readouterr().out
    assert read_taxonomy(out).level_sizes == (2, 3, 13)
    main(["taxonomy", "check", str(path), "--fix", str(out), "--json", "--accept", "several-parents"])
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == 2
    assert "+waders,gulls,lost gull" in report["diff"]
    main(["taxonomy", "check", str(out)])
    assert "No problems." in capsys.readouterr().out
    assert read_taxonomy(out).level_sizes == (1, 2, 13)


def test_what_cannot_be_mended_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("name,parent\na,b\nb,a\n")
    with pytest.raises(SystemExit) as caught:
        main(["taxonomy", "check", str(path), "--fix", str(tmp_path / "out.csv")])
    assert caught.value.code == 2
    assert not (tmp_path / "out.csv").exists()


def test_long_names_are_counted_by_the_tokeniser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tree.csv"
    path.write_text(f"order,species\nwaders,{'a ' * 90}bird\nwaders,puffin\n")
    main(["taxonomy", "check", str(path)])
    assert "96 tokens" in " ".join(capsys.readouterr().out.split())


needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")


@needs_shared
def test_the_kittiwake_of_cub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(SHARED / "hierarchies.json"), tmp_path / "cub.csv"
    main(["taxonomy", "check", file, "--select", "cub200", "--fix", str(out), "--accept", "several-parents"])
    printed = capsys.readouterr().out
    assert "under Coraciiformes: 1 of 16 rows: Red_legged_Kittiwake (line 342)" in printed
    assert read_taxonomy(out).level_sizes == (13, 38, 200)
    main(["taxonomy", "check", file, "--select", "fgvc_aircraft"])
    assert "HiSCE acts on 46 of 100 leaves" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["taxonomy", "check", file])
    assert "choose one of cub200, fgvc_aircraft" in capsys.readouterr().err


@needs_shared
@pytest.mark.parametrize(
    ("file", "leaves", "nodes", "depth"),
    [("chils_cifar20.json", 100, 119, 2), ("chils_living17.json", 68, 85, 2), ("hgclip_caltech101.txt", 101, 163, 3),
     ("nbdt_tinyimagenet200_graph.json", 200, 295, 12), ("nbdt_tinyimagenet200_wnids.txt", 200, 200, 1)],
)  # fmt: skip
def test_files_found_in_the_wild(file: str, leaves: int, nodes: int, depth: int) -> None:
    tree = read_taxonomy(SHARED / "raw" / file)
    assert (tree.num_leaves, tree.num_nodes, tree.num_levels) == (leaves, nodes, depth)
