"""Doubts in words: the reasons not to trust a row, and not to trust a whole upload.

A row's remarks name the changes on reading it, then the doubts of this module. An upload's warnings are made
from its rows' remarks, so that they say the same whichever way the rows came.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Any

from functions.domain.locations import LOCATION_NAMES
from functions.domain.organisms import NO_EUKARYOTES, kingdom_of_header
from functions.domain.prediction import Prediction

FOREIGN = "of {}, and the model knows eukaryotic cells only"
UNLIKE = "unlike the eukaryotic proteins that the model learned from"
UNLIKE_ITS_OWN = "unlike the proteins that the model learned from"
"""Of a model with labels of its own, which may be of any cells."""
LIKE = {
    "prokaryotic": "more like one of a bacterium or archaeon",
    "artificial": "more like one that no cell makes",
}
NO_PLASTIDS = "{} have no plastids"
WITHOUT_PLASTIDS = ("animals", "fungi")

MIN_ANSWERS_TO_WARN = 20
USUAL_SHARE = 0.15
"""Of an upload's proteins, how many may be unlike what the model learned from before a warning says so: 5 %
are by the artifact's own measure, and yeast's are twice as often."""


def doubts(prediction: Prediction, header: str, organism: str) -> list[str]:
    """List the reasons to doubt this prediction.

    `organism` is the kingdom declared for the upload; a header that names one takes precedence.
    """
    if prediction.names != LOCATION_NAMES:
        return _unlike(prediction, UNLIKE_ITS_OWN)
    kingdom = kingdom_of_header(header) or organism
    remarks = [FOREIGN.format(kingdom)] if kingdom in NO_EUKARYOTES else []
    if kingdom in WITHOUT_PLASTIDS and "Plastid" in prediction.places:
        remarks.append(NO_PLASTIDS.format(kingdom))
    return remarks + _unlike(prediction, UNLIKE)


def _unlike(prediction: Prediction, words: str) -> list[str]:
    if not prediction.outside_like or prediction.outside is None:
        return []
    like = LIKE.get(prediction.outside_like)
    share = f"{words}, {prediction.outside:.1%} of which are less so"
    return [f"{share}; {like}" if like else share]


def text_left_out(letters: int) -> list[str]:
    """The warning about so many letters before the first record; none where there are none."""
    return [f"{letters:,} characters of text before the first record were left out"] if letters else []


class Doubts:
    """Counts the rows of an upload that carry each doubt."""

    def __init__(self) -> None:
        self._predicted = self._unlike = 0
        self._words = UNLIKE
        self._foreign: Counter[str] = Counter()

    def count(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        if row["status"] != "predicted":
            return
        self._predicted += 1
        remarks: Iterable[str] = row["remarks"] or ()
        for remark in remarks:
            if remark.startswith((UNLIKE, UNLIKE_ITS_OWN)):
                self._unlike += 1
                self._words = UNLIKE if remark.startswith(UNLIKE) else UNLIKE_ITS_OWN
            for kingdom in NO_EUKARYOTES:
                self._foreign[kingdom] += remark == FOREIGN.format(kingdom)

    def warnings(self) -> list[str]:
        """The warnings about the upload as a whole.

        So many rows must be unlike that `USUAL_SHARE` of them explains it less than once in forty times.
        """
        warnings = [
            f"{count:,} of {self._predicted:,} answers are for proteins {FOREIGN.format(kingdom)}"
            for kingdom, count in self._foreign.items()
            if count
        ]
        usual = USUAL_SHARE * self._predicted
        spread = sqrt(usual * (1 - USUAL_SHARE))
        if self._predicted >= MIN_ANSWERS_TO_WARN and self._unlike > usual + 2 * spread:
            warnings.append(f"{self._unlike:,} of {self._predicted:,} answers are for proteins {self._words}")
        return warnings
