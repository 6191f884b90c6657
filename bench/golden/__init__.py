"""Golden replay: recorded runs of official implementations, held against ours through the public API.

`replay(folder)` yields one `Result` per case file, `summary(results)` adds them up. The data says what to do, in the format of its
own README: `models/<name>/` are tiny checkpoints, `cases/<reference>/*.json` the runs. A reference whose strategy does not exist
here is skipped; so is a case that draws at random.
"""

from decoders_bench.golden.cases import Case, MismatchError, SkipError
from decoders_bench.golden.models import Models
from decoders_bench.golden.references import REFERENCES
from decoders_bench.golden.runner import Result, replay, summary

__all__ = ["REFERENCES", "Case", "MismatchError", "Models", "Result", "SkipError", "replay", "summary"]
