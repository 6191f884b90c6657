"""Everything that a strategy, a cache, a model or an engine is written with: one place to import from."""

from decoders.core.around import Around, inherit
from decoders.core.attested import ATTESTED, Attested
from decoders.core.cache import Cache, Exact, just_decided, must_recompute, refresh, sees_any
from decoders.core.canvas import Canvas
from decoders.core.decoder import Decoder
from decoders.core.events import Event, generated
from decoders.core.layout import begun, enter, entered, layout
from decoders.core.loop import Eager, Row, Run, check, decode, row_of, sound
from decoders.core.model import Fixed, Forward, Model, ModelDefaults, Session, SessionSpec, Shape
from decoders.core.needs import MODEL, SENTENCES, asks, candidates, memo_bytes, refuse
from decoders.core.options import Option, Part, option, option_named, options, said, validate, written
from decoders.core.plan import Plan, Rule
from decoders.core.pred import Attention, Pred
from decoders.core.query import Candidates, Query, Sight, either
from decoders.core.rows import (
    BROKEN,
    EXHAUSTED,
    FILLED,
    LIVE,
    NO_PROGRESS,
    NON_FINITE,
    REASONS,
    STALLED,
    STOPPED,
    Rows,
    put,
    settled_stop,
    view,
    write,
)
from decoders.core.rules import Suppress
from decoders.core.select import (
    above,
    best_of_runs,
    first_run,
    leftmost,
    near,
    only,
    rank,
    share,
    top,
    until_first,
    within_bound,
)
from decoders.core.state import State, choose, nbytes
from decoders.core.step import apply, next_start, prepare, session_spec, stopped
from decoders.core.store import APPROXIMATE, NOTHING, Store
from decoders.core.trace import Trace, replay
from decoders.core.tree import mapped
from decoders.core.windows import Blocks, Whole, Windows
from decoders.errors import NonFiniteError, RowError, StalledError, UsageError, suggest

__all__ = [
    "APPROXIMATE",
    "ATTESTED",
    "BROKEN",
    "EXHAUSTED",
    "FILLED",
    "LIVE",
    "MODEL",
    "NON_FINITE",
    "NOTHING",
    "NO_PROGRESS",
    "REASONS",
    "SENTENCES",
    "STALLED",
    "STOPPED",
    "Around",
    "Attention",
    "Attested",
    "Blocks",
    "Cache",
    "Candidates",
    "Canvas",
    "Decoder",
    "Eager",
    "Event",
    "Exact",
    "Fixed",
    "Forward",
    "Model",
    "ModelDefaults",
    "NonFiniteError",
    "Option",
    "Part",
    "Plan",
    "Pred",
    "Query",
    "Row",
    "RowError",
    "Rows",
    "Rule",
    "Run",
    "Session",
    "SessionSpec",
    "Shape",
    "Sight",
    "StalledError",
    "State",
    "Store",
    "Suppress",
    "Trace",
    "UsageError",
    "Whole",
    "Windows",
    "above",
    "apply",
    "asks",
    "begun",
    "best_of_runs",
    "candidates",
    "check",
    "choose",
    "decode",
    "either",
    "enter",
    "entered",
    "first_run",
    "generated",
    "inherit",
    "just_decided",
    "layout",
    "leftmost",
    "mapped",
    "memo_bytes",
    "must_recompute",
    "nbytes",
    "near",
    "next_start",
    "only",
    "option",
    "option_named",
    "options",
    "prepare",
    "put",
    "rank",
    "refresh",
    "refuse",
    "replay",
    "row_of",
    "said",
    "sees_any",
    "session_spec",
    "settled_stop",
    "share",
    "sound",
    "stopped",
    "suggest",
    "top",
    "until_first",
    "validate",
    "view",
    "within_bound",
    "write",
    "written",
]
