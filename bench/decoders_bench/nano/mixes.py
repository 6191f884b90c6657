"""How often each task and rung is drawn in the training of the embedded model, by stages."""

from __future__ import annotations


def scaled(mix: dict[str, float], share: float) -> dict[str, float]:
    return {name: share * weight for name, weight in mix.items()}


FIRST = {
    "chain/easy": 1.5, "chain/hard": 3.0, "answer_first/easy": 1.5, "answer_first/hard": 2.5, "extract/easy": 0.4,
    "extract/hard": 1.2, "sudoku/easy": 1.5, "sudoku/hard": 2.5, "list/easy": 1.2, "list/hard": 2.0,
    "shuffle/easy": 0.7, "shuffle/hard": 1.0, "ledger/easy": 1.0, "ledger/hard": 0.25,
}
COPYING = {
    "chain/easy": 1.0, "chain/hard": 2.5, "answer_first/easy": 1.0, "answer_first/hard": 1.5, "extract/easy": 1.5,
    "extract/hard": 2.5, "sudoku/easy": 1.0, "sudoku/hard": 1.5, "list/easy": 4.0, "list/hard": 3.0,
    "shuffle/easy": 0.5, "shuffle/hard": 0.5, "ledger/easy": 1.5, "ledger/hard": 0.2,
}
SUMS = {
    "chain/easy": 2.0, "chain/hard": 4.0, "answer_first/easy": 1.5, "answer_first/hard": 2.0, "extract/easy": 0.3,
    "extract/hard": 0.8, "sudoku/easy": 1.0, "sudoku/hard": 1.5, "list/easy": 4.0, "list/hard": 3.0,
    "shuffle/easy": 0.4, "shuffle/hard": 0.5, "ledger/easy": 3.0, "ledger/hard": 0.25,
}
KEPT = {
    "chain/easy": 0.3, "chain/hard": 0.7, "answer_first/easy": 0.3, "answer_first/hard": 0.6, "extract/easy": 0.15,
    "extract/hard": 0.3, "sudoku/easy": 0.3, "sudoku/hard": 0.8, "list/easy": 2.5, "list/hard": 4.0,
    "shuffle/easy": 0.15, "shuffle/hard": 0.25, "ledger/easy": 1.0, "ledger/hard": 0.5,
}
LINES = KEPT | {
    "cycle/easy": 1.0, "cycle/hard": 0.1, "table/easy": 1.2, "table/hard": 0.1, "nest/easy": 1.0, "nest/hard": 0.1,
    "edit/easy": 1.5, "edit/hard": 0.1, "records/easy": 1.2, "records/hard": 0.05, "program/easy": 1.0,
    "program/hard": 0.1,
}
LISTS = KEPT | {
    "list/easy": 5.0, "list/hard": 9.0, "ledger/easy": 1.2, "ledger/hard": 1.0, "cycle/easy": 0.5, "table/easy": 0.5,
    "nest/easy": 0.5, "edit/easy": 0.5, "records/easy": 0.5, "program/easy": 0.5,
}
PAGES = KEPT | {
    "cycle/easy": 0.6, "cycle/hard": 0.4, "table/easy": 0.6, "table/hard": 0.4, "nest/easy": 0.6, "nest/hard": 0.35,
    "edit/easy": 0.8, "edit/hard": 0.4, "records/easy": 0.6, "records/hard": 0.3, "program/easy": 0.6,
    "program/hard": 0.4, "ledger/hard": 0.7,
}
CHOSEN = {
    "chain/easy": 0.4, "chain/hard": 1.2, "answer_first/easy": 0.4, "answer_first/hard": 0.9, "extract/easy": 0.15,
    "extract/hard": 0.3, "sudoku/easy": 0.3, "sudoku/hard": 0.8, "list/easy": 2.5, "list/hard": 5.0,
    "shuffle/easy": 0.2, "shuffle/hard": 0.3, "ledger/easy": 1.2, "ledger/hard": 1.0, "cycle/easy": 0.8,
    "cycle/hard": 0.3, "edit/easy": 0.8, "records/easy": 0.5,
}
STAGES = ((0, FIRST), (1500, COPYING), (2250, SUMS), (3000, LISTS), (4000, PAGES))
"""The first step of each stage, and the relative frequencies of the tasks and rungs in it. The later stages follow
results on validation items: at step 1250 the model was learning sums and sudoku but not copying; at step 2000 it was
learning copying, and sums were off by one or two. Texts of a page come last, at first mostly their short rungs."""
WARM = ((0, LINES), (100, LISTS), (900, PAGES), (1300, CHOSEN))
"""The stages of a run that begins with the weights of a model that knows the tasks of the first three. At step 1200 the
model was forgetting chains and was far from knowing four of the six tasks of a page, so the last stage omits three of
them (table, nest, program) and the hard rungs of two tasks of a page (edit, records)."""
SHORT = {
    "chain/easy": 0.48, "chain/hard": 0.95, "answer_first/easy": 0.43, "answer_first/hard": 0.73, "extract/easy": 0.29,
    "extract/hard": 0.34, "sudoku/easy": 0.44, "sudoku/hard": 0.55, "list/easy": 1.5, "list/hard": 2.0,
    "shuffle/easy": 0.38, "shuffle/hard": 0.34, "ledger/easy": 0.28, "ledger/hard": 0.08, "cycle/easy": 0.13,
    "cycle/hard": 0.09, "table/easy": 0.26, "table/hard": 0.54, "nest/easy": 2.0, "nest/hard": 0.25, "edit/easy": 3.5,
    "edit/hard": 0.26, "records/easy": 0.17, "records/hard": 0.37, "program/easy": 3.5, "program/hard": 0.17,
}
WHOLE = {
    "chain/easy": 0.6, "chain/hard": 1.2, "answer_first/easy": 0.55, "answer_first/hard": 0.92, "extract/easy": 0.37,
    "extract/hard": 0.42, "sudoku/easy": 0.56, "sudoku/hard": 0.69, "list/easy": 1.9, "list/hard": 2.5,
    "shuffle/easy": 0.47, "shuffle/hard": 0.43, "ledger/easy": 0.35, "ledger/hard": 0.1, "cycle/easy": 0.16,
    "cycle/hard": 0.12, "table/easy": 0.32, "table/hard": 0.88, "nest/easy": 0.9, "nest/hard": 0.74, "edit/easy": 1.5,
    "edit/first": 8.0, "edit/hard": 0.6, "records/easy": 0.21, "records/hard": 0.7, "program/easy": 1.5,
    "program/hard": 0.77,
}
TAUGHT = SHORT | {
    "edit/first": 9.0, "nest/first": 5.0, "edit/easy": 2.0, "program/easy": 3.0, "nest/easy": 1.0,
}
EDITS = TAUGHT | {"edit/first": 24.0, "nest/first": 3.0, "edit/easy": 1.0, "program/easy": 2.0}
LAST = {
    "chain/easy": 0.5, "chain/hard": 0.9, "answer_first/easy": 0.4, "answer_first/hard": 0.7, "extract/easy": 0.3,
    "extract/hard": 0.33, "sudoku/easy": 0.43, "sudoku/hard": 0.53, "list/easy": 1.8, "list/hard": 3.9,
    "shuffle/easy": 0.5, "shuffle/hard": 0.46, "ledger/easy": 0.27, "ledger/hard": 0.33, "cycle/easy": 0.12,
    "cycle/hard": 0.42, "table/easy": 0.25, "table/hard": 0.73, "nest/first": 3.2, "nest/easy": 0.87, "nest/hard": 0.81,
    "edit/first": 0.72, "edit/easy": 0.17, "edit/hard": 0.06, "records/easy": 0.16, "records/hard": 0.27,
    "program/easy": 0.4, "program/hard": 0.43,
}
UNLEARNT = ((0, SHORT), (1000, TAUGHT), (1600, EDITS), (2600, WHOLE), (4200, LAST))
"""The stages of a run that begins with the weights of a model that has not learnt edit, program and the hard rungs of
table, nest and records. About four fifths of the positions are theirs: at first in their short form, then in all. The
lessons follow looks at validation items: at step 1000 sums of programs were being learnt, and neither edits nor kinds
of brackets; at step 1600 programs were right; at step 2600 it knew what to edit, but not which of the edits
to take; at step 4200 tables, records and programs were learnt, edits were where they had been, and ledger/hard and
cycle/hard were less often right than before."""

KNOWN = {
    "chain/easy": 0.5, "chain/hard": 0.9, "answer_first/easy": 0.4, "answer_first/hard": 0.7, "extract/easy": 0.3,
    "extract/hard": 0.33, "sudoku/easy": 0.43, "sudoku/hard": 0.53, "list/easy": 1.8, "list/hard": 3.9,
    "shuffle/easy": 0.5, "shuffle/hard": 0.46, "ledger/easy": 0.27, "ledger/hard": 0.4, "cycle/easy": 0.12,
    "cycle/hard": 0.45, "table/easy": 0.25, "table/hard": 0.73, "records/easy": 0.16, "records/hard": 0.27,
    "program/easy": 0.5, "program/hard": 0.6,
}
LETTERED = scaled(KNOWN, 0.33) | {"edit/first": 20.0, "edit/easy": 3.0, "nest/first": 14.0, "nest/easy": 2.0}
LONGER = scaled(KNOWN, 0.7) | {
    "edit/first": 3.0, "edit/easy": 4.0, "edit/hard": 1.5, "nest/first": 2.0, "nest/easy": 3.0, "nest/hard": 1.2,
}
ALL = KNOWN | {
    "edit/first": 0.7, "edit/easy": 1.2, "edit/hard": 1.8, "nest/first": 0.5, "nest/easy": 1.0, "nest/hard": 1.6,
}
ALL_LISTS = ALL | {"list/first": 4.0, "list/easy": 3.0, "list/hard": 4.5}
PLACES = ((0, LETTERED), (1100, LONGER), (1800, ALL), (3000, ALL_LISTS))
"""The stages of a run that begins with the weights of a model that knows all but edits and brackets: these two in their
shortest form, then in their short form, then in all. At the end also lists that are shorter than any rung, of which it
sorted half of those with four letters and none of those with three."""

LATER = {"pages": (WARM, 3000), "unlearnt": (UNLEARNT, 4000), "places": (PLACES, 4000)}
"""The mixes of runs that begin with the weights of a model, each with the positions of a step."""
