"""The search for the sequences that a model fails on, by any function that asks it."""

from collections.abc import Callable
from typing import Any

from functions.domain.errors import EndpointRefused, EndpointTimedOut, EndpointUnavailable
from functions.domain.prediction import Answer, Unpredictable

CANARY = "MSMTILPLELIDKCIGSNLWVIMKSEREFAGTLVGFDDYVNIVLKDVTEYDTVTGVTEKHSEMLLNGNGMCMLIPGGKPE"
"""A small protein any model answers for: Q9P802's relative from the article, a nuclear LSm protein."""


class Bisection:
    """Finds the sequences a model fails on, calling it as few times as that takes.

    Of a call that failed, half is asked again, then half of the half that must hold the culprit; then all
    others together. A culprit among n costs at most ⌈log₂ n⌉ + 2 more calls, which from three sequences on is
    within 2·⌈log₂ n⌉; among fewer it costs up to 3, because a failure alone says nothing while the model is
    down. So a verdict stands only if the sequence failed on both sides of a call that went well, the second
    time alone, and if the model is known to have been well after that or the first time alone, too.

    A protein may take the model down with it. Then the search is interrupted by EndpointUnavailable, and goes
    on from its `progress` when the endpoint answers again. OutOfTime interrupts it in the same way.

    A time-out is no fault of a protein: half as many are asked about at a time from then on. One that takes
    too long alone is put last; if the model answers for no other in between, the search waits, as it does
    when only such are left. However long that lasts, it is never a verdict.
    """

    def __init__(
        self,
        ask: Callable[[list[str]], list[Answer]],
        sequences: dict[str, str],
        progress: dict[str, Any] | None = None,
    ) -> None:
        before: dict[str, Any] = progress or {}
        verdicts: dict[str, str] = before.get("told", {})
        self.answered: dict[str, Answer] = {
            name: Unpredictable(reason) for name, reason in verdicts.items() if name in sequences
        }
        self.has_replied = False
        """True if any call brought the search on."""
        self._call = ask
        self._sequences = sequences  # by any name; `progress` holds the names
        suspects = before.get("suspects", [])
        self._suspects = [name for name in suspects if name in sequences]  # one of them is a culprit
        self._together = before.get("together", False) and self._suspects == suspects
        """True if the suspects, as they are, failed in one call."""
        self._well_since_suspected = before.get("well_since_suspected", False)
        self._well_since_refused = before.get("well_since_refused", False)
        refused: dict[str, bool] = before.get("refused", {})
        self._refused = {name: twice for name, twice in refused.items() if name in sequences}
        """Those that failed alone; True if that was after another failure and a call that went well."""
        self._reason: str = before.get("reason", "")
        self._most: int = max(1, min(2 * before.get("most", len(sequences)), len(sequences)))
        """The number to ask about at a time; a number that was too large before may not be any more."""
        self._slow = [name for name in before.get("slow", []) if name in sequences]
        self._tired = bool(self._slow)
        """True if the model took too long for one sequence alone and has not answered since."""
        self._asked: list[str] = []

    @property
    def progress(self) -> dict[str, Any]:
        """The state of the search, as JSON can hold it."""
        return {
            "suspects": self._suspects,
            "together": self._together,
            "well_since_suspected": self._well_since_suspected,
            "well_since_refused": self._well_since_refused,
            "refused": self._refused,
            "reason": self._reason,
            "most": self._most,
            "slow": self._slow,
            "told": {
                name: answer.reason
                for name, answer in self.answered.items()
                if isinstance(answer, Unpredictable) and name not in self._refused
            },
        }

    def answers(self) -> dict[str, Answer]:
        """An answer for every sequence, by name; Unpredictable for those the model fails on."""
        while rest := self._rest():
            try:
                if self._suspects or not self._all_answered(rest[: self._most]):
                    self._find_culprit()
            except EndpointTimedOut:
                self._ask_for_less()
        if self._refused and not self._well_since_refused:
            self._prove_alive()
        for name, twice in list(self._refused.items()):
            if twice or not self._ask([name]):
                self._refused[name] = True
                self.answered[name] = Unpredictable(self._reason)
        return self.answered

    def _rest(self) -> list[str]:
        """Those that nothing is known of, the slow ones last."""
        rest = [n for n in self._sequences if n not in self.answered and n not in self._refused]
        return sorted(rest, key=self._slow.__contains__)

    def _ask_for_less(self) -> None:
        """Go on after a call that took too long; raise EndpointTimedOut where only waiting is left."""
        if len(self._asked) > 1:
            self._most = len(self._asked) // 2
            return
        gives_up = self._tired or not self._asked
        self._slow += [name for name in self._asked if name not in self._slow]
        self._tired, self._most = True, 1
        self._suspects, self._together = [], False
        if gives_up or set(self._rest()) <= set(self._slow):
            raise EndpointTimedOut("the model takes too long, even for a single protein")

    def _all_answered(self, rest: list[str]) -> bool:
        if self._ask(rest):
            return True
        nothing_went_well = bool(self._refused) and not self._well_since_suspected
        self._suspects, self._together, self._well_since_suspected = rest, True, False
        if nothing_went_well:
            self._prove_alive()
            self._together = False  # that was before the proof, so one alone is asked again
        return False

    def _find_culprit(self) -> None:
        """Narrow the suspects down to one, and hear it fail alone."""
        while len(self._suspects) > 1:
            half = self._suspects[: min(len(self._suspects) // 2, self._most)]
            if self._ask(half):
                self._suspects, self._together = self._suspects[len(half) :], False
            else:
                self._suspects, self._together = half, True
        name = self._suspects[0]
        if self._together or not self._ask([name]):
            self._refused[name] = self._well_since_suspected
        self._suspects = []

    def _ask(self, names: list[str]) -> bool:
        """Ask the model about these sequences in one call; True if it answered."""
        self._asked = names
        answers = self._invoke([self._sequences[name] for name in names])
        self.has_replied, self._tired = True, False
        self._well_since_refused = answers is not None
        if answers is None:
            return False
        self._well_since_suspected = True
        self.answered |= zip(names, answers, strict=True)
        return True

    def _prove_alive(self) -> None:
        """Raise EndpointUnavailable unless the endpoint answers for a protein that any model can read."""
        self._asked = []
        if self._invoke([CANARY]) is None:
            self._suspects, self._refused, self.has_replied = [], {}, False  # no protein is to blame
            raise EndpointUnavailable(f"the model fails on everything: {self._reason}")
        self._well_since_suspected = self._well_since_refused = True

    def _invoke(self, sequences: list[str]) -> list[Answer] | None:
        try:
            return self._call(sequences)
        except EndpointRefused as error:
            self._reason = str(error)
            return None
