"""Reading a number of a column by the column's address, compiled.

Every market has columns of its own length. numba takes many of them either joined into one array,
which is a copy of all candles, or as a type for each number of markets, which is a compilation for
each. So a market says where its columns begin. Nothing here knows how long they are: `engine` gives
addresses of arrays that it has checked and holds until the simulation has ended. Python's lock is
held as long (no `nogil`), so that no other thread changes them meanwhile.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.records import NEVER, Record


def _reader(number: Any) -> Callable[[int, int], Any]:
    """A function of a column's address and a row: the number of this type that stands there."""

    def read(_context: Any, _address: Any, _row: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, row = arguments
            stored = context.get_data_type(number)
            column = builder.inttoptr(address, stored.as_pointer())
            return builder.load(builder.gep(column, [row], source_etype=stored), typ=stored)

        return number(types.int64, types.int64), generate

    return cast(Callable[[int, int], Any], intrinsic(read))


float_at: Callable[[int, int], float] = _reader(types.float64)
int_at: Callable[[int, int], int] = _reader(types.int64)
flag_at: Callable[[int, int], int] = _reader(types.uint8)


def _fetch() -> Callable[[int, int], None]:
    """A function of a column of 8-byte numbers, by its address, and a row."""
    byte, number = ir.IntType(8), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), *[number] * 3])
    to_read, keep, is_data = number(0), number(3), number(1)

    def fetch(_context: Any, _address: Any, _row: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, row = arguments
            column = builder.inttoptr(address, ir.IntType(64).as_pointer())
            place = builder.gep(column, [row], source_etype=ir.IntType(64))
            place = builder.bitcast(place, byte.as_pointer())
            prefetch = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
            builder.call(prefetch, [place, to_read, keep, is_data])
            return context.get_dummy_value()

        return types.none(types.int64, types.int64), generate

    return cast(Callable[[int, int], None], intrinsic(fetch))


# Has the processor bring near what stands in that row, without waiting for it. A simulation jumps
# from trade to trade; waiting for the memory there takes longer than the trade. The row may lie
# behind the column's end: nothing is read.
fetch_early = _fetch()


@compiled
def open_time_at(position: Record, row: int, step: int) -> int:
    """When the market's candle `row` opens; where none is missing, that is not looked up."""
    if position.unbroken:
        return int(position.first_time + row * step)
    return int_at(position.open_times, row)


@compiled
def go_forward(position: Record, rows: int, step: int) -> None:
    """The market's next candle is so many rows later."""
    position.row += rows
    position.next_time = NEVER
    if position.row < position.row_end:
        position.next_time = open_time_at(position, position.row, step)
