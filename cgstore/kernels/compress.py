"""Sixteen particles at a time with AVX-512: distances within a cutoff, their bins packed without gaps.

Everything is IEEE arithmetic in the order of the plain loops of `pairs`, without contraction, so that both give the
same bits. What is within the cutoff is moved together by one instruction (vpcompressd), which spares the increments of
all else.
"""

from functools import partial
from typing import Any

from llvmlite import binding, ir
from numba import core, types
from numba.extending import intrinsic

__all__ = [
    "available",
    "near",
    "nearest",
    "nearest_grouped",
    "nearest_later",
    "shifted",
    "shifted_grouped",
    "shifted_later",
]

LANES = 16
_build: Any = core.cgutils  # numba has no types
_config: Any = core.config
_three: Any = partial(types.UniTuple, count=3)
_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS, _BITS = (ir.VectorType(one, LANES) for one in (_FLOAT, _INT, ir.IntType(1)))
_IOTA = ir.Constant(_INTS, list(range(LANES)))


def available() -> bool:
    """Return whether numba compiles for a processor with AVX-512, and its LLVM knows how to pack vectors."""
    if _config.DISABLE_JIT or binding.llvm_version_info[0] < 20:
        return False
    if _config.CPU_NAME or _config.CPU_FEATURES:  # the user wants code for another processor
        chosen = str(_config.CPU_FEATURES or "").split(",")
        return "+avx512f" in chosen and "+avx512vl" in chosen
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512vl"))


def _splat(builder: Any, value: Any) -> Any:
    """Return a vector of one value."""
    kind = ir.VectorType(value.type, LANES)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, _INT(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * LANES))


def _pointer(builder: Any, address: Any, place: Any, kind: Any) -> Any:
    """Return a pointer to number `place` of four bytes each."""
    return builder.inttoptr(builder.add(address, builder.mul(place, _LONG(4))), kind.as_pointer())


def _load(builder: Any, address: Any, place: Any, kind: Any, align: int = 4) -> Any:
    """Return what lies at a place."""
    value = builder.load(_pointer(builder, address, place, kind))
    value.align = align
    return value


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call an intrinsic function of LLVM."""
    signature = ir.FunctionType(result, [one.type for one in arguments])
    return builder.call(_build.get_or_insert_function(builder.module, signature, name), arguments)


def _append(builder: Any, address: Any, count: Any, values: Any, mask: Any) -> None:
    """Store what the mask picks behind the `count` numbers that are there, and count it."""
    name = f"llvm.experimental.vector.compress.v{LANES}i32"
    packed = _call(builder, name, _INTS, values, mask, ir.Constant(_INTS, ir.Undefined))
    place = builder.load(count)
    builder.store(packed, _pointer(builder, address, place, _INTS)).align = 4
    bits = builder.bitcast(mask, ir.IntType(LANES))
    more = _call(builder, f"llvm.ctpop.i{LANES}", ir.IntType(LANES), bits)
    builder.store(builder.add(place, builder.zext(more, _LONG)), count)


def _square(builder: Any, difference: list[Any]) -> Any:
    """Return (x² + y²) + z²."""
    x, y, z = (builder.fmul(one, one) for one in difference)
    return builder.fadd(builder.fadd(x, y), z)


def _least(builder: Any, one: Any, other: Any, order: str) -> Any:
    """Return the least ("<") or greatest (">") of two vectors."""
    return builder.select(builder.fcmp_ordered(order, one, other), one, other)


def _near_of(typingctx, place, stride, first, last, bounds, shift, cutoff, found):  # type: ignore[no-untyped-def]
    """List which particles first <= i < last are within the cutoff of moved bounds; return how many."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place, stride, first, last, bounds, shift, cutoff, found = arguments
        shifts = [builder.extract_value(shift, d) for d in range(3)]
        sides = [
            [
                _splat(builder, builder.fadd(_load(builder, bounds, _LONG(3 * side + d), _FLOAT), shifts[d]))
                for d in range(3)
            ]
            for side in range(2)
        ]
        zero, limit = ir.Constant(_FLOATS, [0.0] * LANES), _splat(builder, cutoff)
        low, high = (_splat(builder, builder.trunc(one, _INT)) for one in (first, last))
        begin = builder.and_(first, _LONG(-LANES))
        count = _build.alloca_once_value(builder, _LONG(0))
        blocks = builder.ashr(builder.add(builder.sub(last, begin), _LONG(LANES - 1)), _LONG(4))
        with _build.for_range(builder, blocks, intp=_LONG) as loop:
            base = builder.add(begin, builder.mul(loop.index, _LONG(LANES)))
            outside = []
            for d in range(3):
                at = builder.add(base, builder.mul(stride, _LONG(d)))
                x = _load(builder, place, at, _FLOATS, 64)
                below, above = builder.fsub(sides[0][d], x), builder.fsub(x, sides[1][d])
                outside.append(_least(builder, _least(builder, below, above, ">"), zero, ">"))
            i = builder.add(_splat(builder, builder.trunc(base, _INT)), _IOTA)
            mask = builder.fcmp_ordered("<", _square(builder, outside), limit)
            mask = builder.and_(mask, builder.icmp_signed(">=", i, low))
            _append(builder, found, count, i, builder.and_(mask, builder.icmp_signed("<", i, high)))
        return builder.load(count)

    size, number = types.int64, types.float32
    address = types.uintp
    return size(address, size, size, size, address, _three(number), number, address), generate


def _step_of(*, nearest: bool, later: bool, grouped: bool) -> Any:
    """Return what counts listed particles against one block: with its own image each, later ones only, by group."""

    def step(typingctx, place, stride, tag, group, block, shift, listed, number, types_, cutoff, scale, slot, full):  # type: ignore[no-untyped-def]
        """Append tag + types * tag + bin of what is within the cutoff; return how full `slot` is."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            place, stride, tag, group, block, shift, listed, number, types_, cutoff, scale, slot, full = arguments
            shifts = [_splat(builder, builder.extract_value(shift, d)) for d in range(3)]
            starts = [builder.add(place, builder.mul(stride, _LONG(4 * d))) for d in range(3)]
            own = [_load(builder, start, block, _FLOATS, 64) for start in starts]
            if not nearest:
                own = [builder.fadd(x, s) for x, s in zip(own, shifts, strict=True)]
            tags = builder.mul(_load(builder, tag, block, _INTS), _splat(builder, types_))
            groups = _load(builder, group, block, _INTS) if grouped else None
            j = builder.add(_splat(builder, builder.trunc(block, _INT)), _IOTA)
            limit, scales = _splat(builder, cutoff), _splat(builder, scale)
            count = _build.alloca_once_value(builder, full)
            with _build.for_range(builder, number, intp=_LONG) as loop:
                i = _load(builder, listed, loop.index, _INT)
                at = builder.zext(i, _LONG)
                apart = [
                    builder.fsub(x, _splat(builder, _load(builder, start, at, _FLOAT)))
                    for x, start in zip(own, starts, strict=True)
                ]
                if nearest:  # the shift is the edge of the box: |d| or its complement
                    apart = [_call(builder, f"llvm.fabs.v{LANES}f32", _FLOATS, x) for x in apart]
                    apart = [_least(builder, builder.fsub(s, x), x, "<") for x, s in zip(apart, shifts, strict=True)]
                square = _square(builder, apart)
                mask = builder.fcmp_ordered("<", square, limit)
                if later:
                    mask = builder.and_(mask, builder.icmp_signed(">", j, _splat(builder, i)))
                if grouped:
                    other = _splat(builder, _load(builder, group, at, _INT))
                    mask = builder.and_(mask, builder.icmp_signed("!=", groups, other))
                distance = _call(builder, f"llvm.sqrt.v{LANES}f32", _FLOATS, square)
                bins = builder.fptosi(builder.fmul(distance, scales), _INTS)
                base = builder.add(tags, _splat(builder, _load(builder, tag, at, _INT)))
                _append(builder, slot, count, builder.add(bins, base), mask)
            return builder.load(count)

        address, size, real = types.uintp, types.int64, types.float32
        shifts_ = _three(real)
        signature = size(
            address, size, address, address, size, shifts_, address, size, types.int32, real, real, address, size
        )
        return signature, generate

    return intrinsic(step)


near: Any = intrinsic(_near_of)
shifted: Any = _step_of(nearest=False, later=False, grouped=False)
shifted_grouped: Any = _step_of(nearest=False, later=False, grouped=True)
shifted_later: Any = _step_of(nearest=False, later=True, grouped=True)
nearest: Any = _step_of(nearest=True, later=False, grouped=False)
nearest_grouped: Any = _step_of(nearest=True, later=False, grouped=True)
nearest_later: Any = _step_of(nearest=True, later=True, grouped=True)
