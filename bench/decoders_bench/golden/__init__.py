"""Golden replay: recorded runs of official implementations, compared with this library's through the public API.

`runner.replay(folder)` yields one `Result` per case file and `runner.summary` adds them up. The data determines what is
replayed, in the format that its own README describes: `models/<name>/` are tiny checkpoints, `cases/<reference>/*.json`
the runs. A reference whose strategy does not exist here is skipped; so is a case that draws at random, or needs a cache
that does not exist here. A case in which the reference is wrong is replayed and neither passes nor fails.
"""
