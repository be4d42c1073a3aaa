"""``hierfit report`` on made-up runs: the page as a browser shows it, its figures, its text, and what is missing."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hierfit.cli import main
from hierfit.errors import UserError
from hierfit.geometry import Space
from hierfit.report.blocks import Gallery, Picture, Section, Sheet
from hierfit.report.evidence import gather
from hierfit.report.page import svg
from hierfit.report.sections import sections
from hierfit.report.sections.breaks import pictured, stacked_bars
from hierfit.results.card import ResultCard

from .browser import CHROMIUM, play
from .made import write_finished, write_guide

SLUGS = [
    *("summary", "tree", "where-paths-break", "sibling-pairs", "confusion", "depth", "reliability", "kinship"),
    *("decoders", "shots", "latent-space", "attributes", "training", "other-runs", "cost"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, a control of the same method and zero-shot: two seeds at 4 shots, one at 1."""
    folder = tmp_path_factory.mktemp("report")
    card = write_guide(folder)
    for seed, shots in ((1, 4), (2, 4), (1, 1)):
        where = folder / f"runs/toy/{shots}-s{seed}"
        ours = 3.5 + shots / 8
        write_finished(where, card, "ours <b>", seed, ours, shots, Space("poincare"), trainable=200)
        write_finished(where / "controls/off", card, "off", seed, 3.0, shots)
        write_finished(where / "controls/zero-shot", card, "zero-shot", seed, 1.5, shots, trainable=0)
    return folder / "runs"


@pytest.fixture(scope="module")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of them all."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    main(["report", str(runs), "--out", str(out)])
    return out


def test_the_page_stands_alone_and_is_in_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tags: list[tuple[str, dict[str, str]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, {k: v or "" for k, v in attrs}))  # type: ignore[method-assign]
    parser.feed(text)
    ids = [found["id"] for _, found in tags if "id" in found]
    assert [slug for slug in ids if slug in SLUGS] == SLUGS
    assert len(ids) == len(set(ids))
    places = [
        found[key] for _, found in tags for key in ("src", "href", "xlink:href", "action", "data") if key in found
    ]
    assert [place for place in places if not place.startswith(("#", "data:"))] == []  # nothing is fetched
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert all(found.get({"img": "alt", "svg": "aria-label"}[tag]) for tag, found in tags if tag in ("img", "svg"))
    headings = [tag for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert "ours &lt;b&gt;" in text
    assert "<b>" not in text
    assert len(text) < 2**20


def test_it_lies_in_the_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(runs / "toy/1-s1"), "--pictures", "0"])
    assert "report.html" in capsys.readouterr().out
    assert _data_of(runs / "toy/1-s1/report.html")["pictures"] == {}
    (runs / "toy/1-s1/report.html").unlink()


def _data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8").split('<script type="application/json">')[1].split("</script>")[0]
    data: dict[str, Any] = json.loads(text)
    return data


def test_what_the_page_holds_is_what_the_cards_hold(runs: Path, page: Path) -> None:
    data = _data_of(page)
    ours, off = (ResultCard.read(runs / "toy/4-s1" / place).metrics["decoded"] for place in ("", "controls/off"))
    n, parent = len(data["file"]), data["parent"]
    assert data["levels"] == ["family", "genus", "species"]
    assert (data["control"], data["file"][0]) == ("off", "test/0/0")

    def depth(node: int) -> int:
        return 0 if parent[node] < 0 else 1 + depth(parent[node])

    def share(of: str, level: int) -> float:
        return sum(data[of][node] for node in range(len(parent)) if depth(node) == level) / n

    for level, name in enumerate(data["levels"]):
        assert share("images", level) * n == n == data["total"]
        assert share("right", level) == pytest.approx(ours[f"accuracy/{name}"])
    assert share("whole", 0) == pytest.approx(ours["fpa"])
    assert share("control_right", 2) == pytest.approx(off["fpa"])
    wrong = [i for i in range(n) if data["truth"][i] != data["answer"][i]]
    assert 1 - len(wrong) / n == pytest.approx(ours["fpa"])
    for i in range(n):
        assert data["sure"][i] == sorted(data["sure"][i], reverse=True)
        assert bool(data["sureOfTruth"][i]) == (i in wrong)
        assert i not in wrong or data["sureOfTruth"][i][-1] <= data["sure"][i][-1] + 1
    text = page.read_text(encoding="utf-8")
    for metric, decoder, key in (("leaf acc", "rollup", "leaf_accuracy"), ("FPA decoded", "decoded", "fpa")):
        shown = re.search(rf"<dt>{metric}</dt><dd><strong>([\d.]+) %</strong><span>± [\d.]+ over 2 seeds", text)
        both = [ResultCard.read(runs / f"toy/4-s{seed}").metrics[decoder][key] or 0 for seed in (1, 2)]
        assert shown
        assert float(shown[1]) == pytest.approx(50 * sum(both), abs=0.005)
    assert "±–" not in text


@pytest.mark.parametrize("most", [5, 20, 1000])
def test_pictures_are_of_many_classes_and_mostly_of_mistakes(runs: Path, most: int) -> None:
    run = gather([runs / "toy/4-s1"]).focus
    order = torch.arange(72)
    chosen = pictured(run.breaks, run.reading.sure, order, most)
    wrong, leaf = run.breaks.wrong, run.breaks.true_path.amax(1)
    assert len(chosen) == len(set(chosen)) == min(most, 72)
    bad = [place for place in chosen if wrong[place]]
    assert len(bad) == min(int(wrong.sum()), most - most // 3)
    failing = len(leaf[wrong].unique())
    assert len({int(leaf[place]) for place in bad}) == min(failing, len(bad))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [360, 1280])
def test_in_a_browser(page: Path, tmp_path: Path, width: int) -> None:
    seen = play(
        page,
        """
        seen.sections = [...document.querySelectorAll("section")].map(section => section.id);
        seen.figures = [...document.querySelectorAll(".drawing svg")].filter(svg => svg.getBBox().width > 50).length;
        seen.pictures = [...document.images].every(image => image.complete && image.naturalWidth > 0);
        seen.width = document.documentElement.clientWidth;
        seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        const mark = document.querySelector("#figure-confusion .mark"), tip = document.getElementById("tip");
        mark.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, clientX: 30, clientY: 40 }));
        const shown = getComputedStyle(document.querySelector("#figure-reliability text"));
        const body = getComputedStyle(document.body);
        seen.inks = [shown.fill, body.color, shown.fontFamily, body.fontFamily];
        // Every mark of a group has its text, and no text is without a mark.
        seen.marks = [...document.querySelectorAll("svg[data-marks]")].map(svg => [
            Object.values(JSON.parse(svg.dataset.marks)).flat().length, svg.querySelectorAll(".mark").length]);
        seen.tip = [tip.hidden, tip.textContent];
        document.body.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
        seen.gone = tip.hidden;
        const figure = document.getElementById("figure-latent_space"), input = figure.querySelector("input");
        input.value = document.querySelector("#figure-latent_space option").value;
        input.dispatchEvent(new Event("input"));
        seen.found = [figure.querySelectorAll(".hit").length, figure.querySelector("output").textContent];
        seen.visible = !figure.querySelector("form").hidden;
        const heading = document.querySelector("#where-paths-break .sort"), table = heading.closest("table");
        const last = () => table.querySelectorAll(".sort")[3];
        const column = () => [...table.tBodies[0].rows].map(row => parseFloat(row.cells[3].textContent));
        last().click();
        seen.ascending = column();
        last().click();
        seen.descending = column();
        """,
        tmp_path,
        width,
    )
    assert (seen["faults"], seen["requests"], seen["width"], seen["sections"]) == ([], [], width, SLUGS)
    assert seen["figures"] >= 12
    assert seen["pictures"]
    assert seen["inks"][:4:2] == seen["inks"][1:4:2]
    assert all(texts == marks for texts, marks in seen["marks"])
    assert sum(marks for _, marks in seen["marks"]) > 100
    assert seen["overflow"] <= 0
    assert seen["tip"][0] is False
    assert re.search(r"\d+ of 6$", seen["tip"][1])
    assert all((seen["gone"], seen["visible"], seen["found"][0] >= 1))
    assert re.fullmatch(rf"{seen['found'][0]} of \d+ marks", seen["found"][1])
    assert len(seen["ascending"]) > 2
    assert seen["ascending"] == sorted(seen["ascending"])
    assert seen["descending"] == sorted(seen["ascending"], reverse=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_tree_and_its_images_by_pointer_and_by_keys(page: Path, tmp_path: Path) -> None:
    data = _data_of(page)
    seen = play(
        page,
        """
        const root = document.querySelector(".explorer"), at = selector => root.querySelector(selector);
        const set = (selector, value) => {
            at(selector).value = value;
            at(selector).dispatchEvent(new Event("input", { bubbles: true }));
        };
        const state = () => ({
            found: at(".found").textContent, chosen: at(".chosen").textContent, trail: at(".trail").textContent,
            blocks: root.querySelectorAll(".node").length, which: at(".which").value,
            rows: [...root.querySelectorAll(".images tbody tr")].map(row => row.innerText) });
        const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        const key = name => press(document.activeElement, name);
        seen.start = state();
        root.querySelectorAll(".node")[1].click();
        seen.family = state();
        set(".outcome", "everything");
        seen.everything = state();
        set(".outcome", "mistakes");
        set(".side", "answer");
        seen.answered = state();
        at(".clear").click();
        set(".least", "60");
        seen.sure = state();
        at(".clear").click();
        // By keys alone: into the tree, down, right, Enter; Home leads back.
        at('.node[tabindex="0"]').focus();
        key("ArrowRight");
        key("ArrowDown");
        seen.second = document.activeElement.getAttribute("aria-label");
        key("Enter");
        seen.keys = state();
        seen.held = document.activeElement.getAttribute("aria-selected");
        key("Home");
        seen.home = state();
        // A picture enlarges, the arrow keys go on, Escape would close.
        root.querySelector("[data-sort=sure] button").click();
        seen.sorted = [...root.querySelectorAll("td.figure")].slice(0, 8).map(cell => parseFloat(cell.textContent));
        root.querySelector(".images .open").click();
        const viewer = document.getElementById("viewer");
        seen.viewer = [viewer.open, viewer.querySelector("h2").textContent, viewer.innerText];
        press(viewer, "ArrowRight");
        seen.next = viewer.querySelector("h2").textContent;
        viewer.close();
        seen.files = [...root.querySelectorAll(".images .file")].slice(0, 2).map(cell => cell.textContent);
        seen.measures = [...at(".measure").options].map(option => {
            at(".measure").value = option.value;
            at(".measure").dispatchEvent(new Event("change"));
            return [option.value, root.querySelectorAll(".node")[1].innerText.split("\\n").at(-1)];
        });
        """,
        tmp_path,
    )
    assert seen["faults"] == []
    names, parent, n = data["names"], data["parent"], len(data["file"])
    wrong = [i for i in range(n) if data["truth"][i] != data["answer"][i]]

    def family(node: int) -> int:
        return node if parent[node] < 0 else family(parent[node])

    assert seen["start"]["found"].startswith(f"{len(wrong)} of {n} images")
    assert seen["start"]["blocks"] == 1 + 3 + 6 + 12
    assert len(seen["start"]["rows"]) == min(20, len(wrong))
    own = [i for i in wrong if family(data["truth"][i]) == 0]
    assert seen["family"]["found"].startswith(f"{len(own)} of {n} images")
    assert seen["family"]["which"] == names[0]
    assert f"{data['right'][0]} of {data['images'][0]} right so far" in seen["family"]["chosen"]
    assert all(names[0] in row for row in seen["family"]["rows"])
    assert seen["everything"]["found"].startswith(f"{data['images'][0]} of {n} images")
    into = [i for i in wrong if family(data["answer"][i]) == 0]
    assert seen["answered"]["found"].startswith(f"{len(into)} of {n} images")
    sure = [i for i in wrong if data["sure"][i][-1] >= 600]
    assert seen["sure"]["found"].startswith(f"{len(sure)} of {n} images")
    assert seen["second"].startswith(f"{names[1]}: ")
    assert seen["keys"]["trail"].endswith(names[1])
    assert seen["held"] == "true"
    assert seen["home"]["trail"] == "all"
    assert seen["sorted"] == sorted(seen["sorted"])
    assert seen["viewer"][0]
    assert "belief" in seen["viewer"][2]
    assert [seen["viewer"][1], seen["next"]] == seen["files"]
    assert [name for name, _ in seen["measures"]] == ["right so far", "whole path right", "right so far, against off"]
    first = data["right"][0] / data["images"][0]
    against = first - data["control_right"][0] / data["images"][0]
    assert seen["measures"][0][1] == f"{100 * first:.0f} %"
    assert seen["measures"][2][1] == f"{'−' if against < 0 else '+'}{abs(100 * against):.1f}"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("dark", [False, True])
def test_all_text_stands_out(page: Path, tmp_path: Path, dark: bool) -> None:
    """Contrast of 4.5 or more (WCAG AA) of every text with what lies behind it."""
    seen = play(
        page,
        """
        const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = element => {
            for (let each = element; each; each = each.parentElement) {
                const found = numbers(getComputedStyle(each).backgroundColor);
                if (found.length < 4 || found[3] > 0) return found;
            }
            return [255, 255, 255];
        };
        const sample = document.createElement("p");
        for (const kind of ["s0", "s1", "s2", "s3", "s4", "s5", "s6", ..."4321".split("").map(i => `d-${i}`),
            ..."01234".split("").map(i => `d${i}`)]) {
            const each = document.createElement("span");
            each.className = `key ${kind}`;
            each.textContent = kind;
            sample.append(each);
        }
        document.querySelector("main").append(sample);
        for (const each of document.querySelectorAll("details")) each.open = true;
        seen.paper = getComputedStyle(document.body).backgroundColor;
        seen.pale = [];
        let checked = 0;
        for (const element of document.body.querySelectorAll("*")) {
            if (!element.checkVisibility() || element.closest("svg, script, dialog, :disabled")) continue;
            if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
            const [a, b] = [numbers(getComputedStyle(element).color), behind(element)].map(light).sort((x, y) => y - x);
            const contrast = (a + 0.05) / (b + 0.05);
            checked++;
            if (contrast < 4.5) seen.pale.push(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
        }
        seen.checked = checked;
        """,
        tmp_path,
        dark=dark,
    )
    assert seen["faults"] == []
    assert seen["checked"] > 300
    assert (seen["paper"] == "rgb(255, 255, 255)") is not dark
    assert seen["pale"] == []


def test_figures_and_text(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["report", str(runs / "toy/4-s1"), "--text", "--figures", str(tmp_path / "f"), "--row", "zero-shot"])
    names = {path.stem for path in (tmp_path / "f").iterdir()}
    assert names == {"breaks_by_row", "breaks_by_node", "confusion", "operating_curve", "reliability"}
    assert Image.open(tmp_path / "f/confusion.png").size[0] > 1000
    assert f"5 figures as svg and png in {tmp_path / 'f'}" in capsys.readouterr().out.replace("\n", "")
    monkeypatch.setenv("COLUMNS", "60")
    main(["report", str(runs), "--text"])
    printed = capsys.readouterr().out
    for said in ("Where paths break", "Worst sibling pairs", "per-level argmax", "A as B", "Reliability", "interval"):
        assert said in printed
    assert max(map(len, printed.splitlines())) <= 60


def _found(path: Path) -> dict[str, Section]:
    return {section.title: section for section in sections(gather([path]))}


def _section(path: Path, title: str) -> Section:
    found = _found(path)[title]
    assert not found.omitted
    return found


def test_what_is_looked_into_and_held_against(runs: Path) -> None:
    evidence = gather([runs])
    assert (evidence.focus.card.row, evidence.focus.card.seed, evidence.focus.card.data["shots"]) == ("ours <b>", 1, 4)
    assert evidence.control == "off"
    assert [run.card.row for run in evidence.beside] == ["off", "zero-shot", "ours <b>"]
    assert {run.card.data["shots"] for run in evidence.beside} == {4}
    assert evidence.table.control == "off"
    assert gather([runs], "off").control == "zero-shot"
    assert gather([runs], "zero-shot").control is None
    assert gather([runs], control="zero-shot").control == "zero-shot"
    for wrong in (("nobody", None), (None, "nobody")):
        with pytest.raises(UserError, match="No run has the row 'nobody'"):
            gather([runs], *wrong)


def test_tables_agree_with_the_cards(runs: Path) -> None:
    evidence = gather([runs / "toy/4-s1"])
    folder = runs / "toy/4-s1"
    card, breaks = evidence.focus.card, evidence.focus.breaks
    wrong = round((1 - (card.metrics["decoded"]["fpa"] or 0)) * 72)
    assert int(breaks.wrong.sum()) == wrong
    assert _section(folder, "Where paths break").lead.startswith(f"{wrong} of 72 decoded paths are wrong")
    sheet = _section(folder, "Levels and decoders").blocks[0]
    assert isinstance(sheet, Sheet)
    assert sheet.table.header == ("ours <b>", "family", "genus", "species", "FPA", "TICE")
    assert sheet.table.texts()[3][4] == f"{100 * (card.metrics['best_path']['fpa'] or 0):.2f}"
    blocks = _section(folder, "Reliability").blocks
    rows = next(block for block in blocks if isinstance(block, Sheet)).table.texts()
    for (_, level, _, accuracy, _), name in zip(rows, card.levels, strict=False):
        assert level == name
        read = evidence.focus.reading
        right = (read.answer == read.target)[:, card.levels.index(name)]
        assert float(accuracy) == pytest.approx(100 * float(right.float().mean()), abs=0.01)
    blocks = _section(folder, "Worst sibling pairs").blocks
    gallery = next(block for block in blocks if isinstance(block, Gallery))
    assert all(picture.jpeg.startswith(b"\xff\xd8") for strip in gallery.strips for picture in strip.thumbnails)


@pytest.mark.parametrize("geometry", ["lorentz", "euclidean"])
def test_other_spaces(tmp_path: Path, geometry: str) -> None:
    space = Space(geometry)  # type: ignore[arg-type]
    write_finished(tmp_path / "run", write_guide(tmp_path), "ours", space=space)
    picture = _section(tmp_path / "run", "The latent space").blocks[0]
    assert isinstance(picture, Picture)
    assert ("flat space" if geometry == "euclidean" else "hyperboloid") in picture.caption
    picture.draw()


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are() -> None:
    bars = {name: ([1, 2], 4) for name in ("a $x_$ b", "鳥 & <i>", "x" * 90)}
    text = svg(Picture("p", "", "a <b>", partial(stacked_bars, bars, ["far", "near"], "%")))
    for found in ("a $x_$ b", "鳥 &amp; &lt;i&gt;", "x…", 'aria-label="a &lt;b&gt;"', 'id="p-part1"'):
        assert found in text


def test_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = write_guide(tmp_path)
    write_finished(tmp_path / "run", card, "ours", trainable=0)
    found = _found(tmp_path / "run")
    left_out = {title: section.omitted for title, section in found.items() if section.omitted}
    assert left_out.keys() == {
        *("Accuracy over shots", "The latent space", "What attributes respond to", "Training", "Other runs"),
        "Does the tree fit the features",
    }
    assert "no embeddings" in left_out["The latent space"]
    assert f"taxonomy fit {tmp_path / 'run'} FEATURES" in left_out["Does the tree fit the features"]
    # Pictures that are no longer those of the test.
    write_guide(tmp_path, seed=5)
    guide = card.read_text().replace("test: 6", "test: 5")
    card.write_text(guide)
    pairs = _section(tmp_path / "run", "Worst sibling pairs")
    assert "not those that the run was tested on" in str(pairs.blocks[-1])
    card.unlink()
    assert "cannot be found any more" in str(_found(tmp_path / "run")["Worst sibling pairs"])
    (tmp_path / "run/test_logits.safetensors").write_bytes(b"broken")
    assert "cannot be read" in str(_found(tmp_path / "run")["Confusion, ordered by the tree"])
    (tmp_path / "run/test_logits.safetensors").unlink()
    main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "r.html")])
    assert "left out: Where paths break" in capsys.readouterr().out


def test_the_test_of_the_tree_is_drawn_group_by_group(runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "toy/4-s1", tmp_path / "run")
    picture, sheet = _section(run, "Does the tree fit the features").blocks
    _, texts = picture.draw()  # type: ignore[union-attr]
    plain = json.loads((run / "kinship.json").read_text())
    said = " ".join([*texts["holds"], *texts["strangers"]])
    for group in plain["groups"]:
        assert f"{group['node']}: " in said
        assert f"kinship {group['kinship']:.3f}, p {group['p']:.3f}" in said
    assert len(texts["holds"] + texts["strangers"]) == len(sheet.table.rows) == 9  # type: ignore[union-attr]
    assert not texts["untested"]
    plain["groups"][0]["node"] = "another tree's"
    for damaged in (json.dumps(plain), "{", "[]"):
        (run / "kinship.json").write_text(damaged)
        assert "cannot be read, or is of another tree" in str(_found(run)["Does the tree fit the features"])


def test_the_step_that_was_kept_is_the_one_all_metrics_are_of(tmp_path: Path) -> None:
    run = tmp_path / "runs/one"
    card = write_finished(run, write_guide(tmp_path), "ours")
    replace(card, val={"val/leaf_accuracy": 0.5, "val/wap_accuracy": 0.7}).write(run)
    lines = ["epoch,step,train/loss,val/leaf_accuracy,val/wap_accuracy", "0,9,1.0,,"]
    (run / "metrics.csv").write_text("\n".join([*lines, "0,19,,0.5,0.6", "0,29,,0.5,0.7", "0,39,,0.4,0.7"]) + "\n")
    assert "The weights of step 30 were kept" in _section(run, "Training").lead


def test_no_mistakes_and_partial_labels(tmp_path: Path) -> None:
    guide = write_guide(tmp_path)
    write_finished(tmp_path / "right", guide, "ours", strength=100)
    right = tmp_path / "right"
    assert "No decoded path of 72 is wrong" in _section(right, "Where paths break").lead
    assert _found(right)["Worst sibling pairs"].omitted
    assert "No class" in _section(right, "Confusion, ordered by the tree").lead
    write_finished(tmp_path / "run", guide, "ours")
    path = tmp_path / "run/test_logits.safetensors"
    kept = load_file(path)
    kept["paths"][::2, -1] = -1
    kept["paths"][::5] = -1
    save_file(kept, path)
    for section in _found(tmp_path / "run").values():
        for block in section.blocks:
            if isinstance(block, Picture):
                block.draw()
    kept["paths"][:] = torch.tensor(-1)
    save_file(kept, path)
    assert _found(tmp_path / "run")["Reliability"].omitted


def test_runs_of_the_same_settings_and_other_figures_are_rows_of_their_own(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((runs / "toy/4-s1/result.json").read_text())
    (tmp_path / "twice").mkdir()
    card["metrics"]["per_level"]["fpa"] = 0.0
    card["versions"]["commit"] = "later"
    (tmp_path / "twice/result.json").write_text(json.dumps(card))
    options = [str(runs), str(tmp_path / "twice"), "--row", "ours <b> (commit null)", "--out", str(tmp_path / "r.html")]
    main(["report", *options])
    assert "Looked into: ours <b> (commit null), seed 1" in " ".join(capsys.readouterr().out.split())
    for wrong, said in (
        ([str(tmp_path / "r.html")], "cannot be read as a result card"),
        ([str(runs), "--out", "x.pdf"], "a report is written as .html"),
        ([str(runs), "--row", "our"], "No run has the row 'our'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["report", *wrong])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
