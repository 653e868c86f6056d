"""``docs/life-of-a-view.md``: its picture is current and shows what its program prints."""

import re

from tests.docs.support import ROOT, blocks
from tools import draw_timeline


def test_the_picture_is_current() -> None:
    drawn = draw_timeline.PICTURE.read_text(encoding="utf-8")
    assert drawn == draw_timeline.draw(), "run: python tools/draw_timeline.py"


def test_the_picture_has_the_hooks_of_the_program() -> None:
    [output] = [item for item in blocks(ROOT / "docs/life-of-a-view.md") if item.mark == "output"]
    printed = re.findall(r"on_\w+(?: '\w')?", output.text.replace("on_open ends", ""))
    assert [name for name, *_ in draw_timeline.HOOKS] == [name.replace("'", "") for name in printed]
