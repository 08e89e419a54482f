"""The page in Chromium: light and dark, wide and narrow, and harmless."""

import numpy as np
import pytest
from PIL import Image

from keras_explain import plots
from keras_explain.report import Cell, Column, Prediction, Report, Row
from tests.report.conftest import EVIL

pytestmark = pytest.mark.browser

LONG = "a_very_long_name_without_a_space_" * 4


def png(seed):
    rng = np.random.default_rng(seed)
    return plots.to_png(rng.integers(0, 255, (32, 48, 3)).astype(np.uint8))


def build(num_rows):
    methods = [f"method_{k}" for k in range(12)]
    columns = tuple(
        Column(m, m.title(), f"family {k // 5}", EVIL, LONG, EVIL, LONG)
        for k, m in enumerate(methods)
    )
    rows = []
    for n in range(num_rows):
        cells = [
            Cell(m, png(k), EVIL, 1.5, LONG, 0.1, peak=(0.5, 0.2), hit=k > 3)
            for k, m in enumerate(methods[:-1])
        ]
        cells.append(Cell(methods[-1], refused=f"{LONG}\n{EVIL}"))
        rows.append(
            Row(
                f"{LONG if n else EVIL}.png",
                png(n),
                tuple(cells),
                (Prediction(EVIL, 0.5, is_share=True), Prediction(LONG, 0.1)),
            )
        )
    return Report(
        EVIL,
        columns,
        tuple(rows),
        facts=((EVIL, LONG), ("Model", EVIL)),
        notices=(LONG, EVIL),
        skipped=((EVIL, LONG),),
    )


@pytest.fixture(scope="module", params=[1, 3])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    build(request.param).write(path)
    return path


def color(visited, what="body"):
    return visited.page.evaluate(
        f"getComputedStyle(document.querySelector('{what}')).backgroundColor"
    )


def brightness(text):
    numbers = text[text.index("(") + 1 : -1].split(",")[:3]
    return sum(float(n) for n in numbers) / 3


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_does_no_harm_and_fits(visit, path, width):
    visited = visit(path, width=width)
    assert visited.said == []
    assert visited.asked == []
    page = visited.page
    assert page.evaluate("window.ran") is None
    assert page.title() == EVIL
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img[src=x]").count() == 0
    broken = page.evaluate(
        "[...document.images].filter(i => !i.complete || !i.naturalWidth)"
        ".length"
    )
    assert broken == 0


def test_light_and_dark(visit, path):
    light, dark = (visit(path, scheme=s) for s in ("light", "dark"))
    assert brightness(color(light)) > 200
    assert brightness(color(dark)) < 60
    for visited, is_dark in ((light, False), (dark, True)):
        ink = visited.page.evaluate("getComputedStyle(document.body).color")
        assert (brightness(ink) > 200) is is_dark


def test_nothing_is_cut_off_on_a_phone(visit, path):
    page = visit(path, width=375).page
    outside = page.evaluate(
        """() => [...document.querySelectorAll('td *, th *, p, dd, h1, h2')]
            .filter(e => e.getClientRects().length
                         && getComputedStyle(e).clipPath === 'none'
                         && !e.closest('thead'))
            .filter(e => e.getBoundingClientRect().right > 376)
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_heads_stay_in_sight(visit, tmp_path):
    build(12).write(tmp_path / "index.html")
    page = visit(tmp_path / "index.html").page
    place = """() => {
        const box = document.querySelector('.scroll');
        box.scrollTo(400, 700);
        const edge = box.getBoundingClientRect();
        const top = document.querySelector('.grid thead th');
        const side = [...document.querySelectorAll('.grid tbody th')].at(-1);
        return [box.scrollTop, box.scrollLeft,
                top.getBoundingClientRect().top - edge.top,
                side.getBoundingClientRect().left - edge.left];
    }"""
    down, right, top, left = page.evaluate(place)
    assert down == 700
    assert right == 400
    assert abs(top) < 3
    assert abs(left) < 3


def test_the_slider_and_the_box_work(visit, path):
    page = visit(path).page
    strength = "getComputedStyle(document.querySelector('.map img')).opacity"
    assert page.evaluate(strength) == "1"
    page.locator("#strength").fill("30")
    assert page.evaluate(strength) == "0.3"
    ring = page.locator(".map .ring").first
    assert ring.is_visible()
    page.locator("#peaks").uncheck()
    assert not ring.is_visible()


def test_an_injected_handler_is_stopped_by_the_policy(visit, path, tmp_path):
    # What escaping prevents, the policy would stop too.
    text = path.read_text()
    attack = '<img src="data:," onerror="window.ran=1"></body>'
    (tmp_path / "index.html").write_text(text.replace("</body>", attack))
    visited = visit(tmp_path / "index.html")
    visited.page.wait_for_timeout(200)
    assert visited.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in m for m in visited.said)


def test_a_file_with_an_evil_name_from_the_command_line(
    visit, tmp_path, capsys
):
    from keras_explain import datasets
    from keras_explain.cli.main import main

    name = "<img src=x onerror=window.ran=1>.png"
    pixels, _, _ = datasets.demo_images(num=1)
    Image.fromarray(pixels[0]).save(tmp_path / name)
    (tmp_path / f"broken {name}").write_text("")
    labels = [EVIL] + [f"<b>{k}</b>" for k in range(7)]
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    model = tmp_path / "model.keras"
    model.write_bytes(_demo_file())
    out = tmp_path / "out"
    code = main(
        ["explain", str(model), str(tmp_path / "*.png"), "--out", str(out),
         "--labels", str(tmp_path / "labels.txt"), "--target", "0",
         "--method", "gradient"]
    )  # fmt: skip
    assert code == 1
    assert "broken <img" in capsys.readouterr().err
    visited = visit(out / "index.html", width=375)
    visited.page.wait_for_timeout(200)
    assert visited.said == []
    assert visited.asked == []
    assert visited.page.evaluate("window.ran") is None
    assert visited.page.locator("h3").inner_text() == name
    assert visited.page.locator("th strong").inner_text() == EVIL


def _demo_file():
    from importlib import resources

    folder = resources.files("keras_explain.datasets")
    return (folder / "demo_model.keras").read_bytes()
