"""The account simulation, compiled: the trader's rules on candles, many million rows a second.

Everything that numba compiles lies in this folder, and nothing else; `engine` prepares what it
takes and returns what it made. Numbers of the rules come in as arguments. What happens in which
order is said in docs/backtest.md; a property test holds it to `rules` in Decimal.

Prices and money are float64, times int64 microseconds UTC. A price on the tick grid has the bits of
its decimal number.
"""
