"""Plans as text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbcnn.graph.plan import Plan, Step

PHASES = ("once", "per weight change", "")


def describe(plan: "Plan") -> str:
    """A table of the plan's steps and a summary of its memory."""
    rows: list[tuple[str, ...]] = [("op", "implementation", "shapes", "bytes", "MFLOP", "runs")]
    rows += [_row(step) for step in plan.steps]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]
    flops = sum(step.flops for step in plan.steps)
    calls = sum(len(step.calls) for step in plan.steps)
    lines.append(
        f"{len(plan.steps)} steps, {calls} kernel calls in one parallel region, "
        f"{flops / 1e6:.1f} MFLOP; "
        f"arena {plan.arena_bytes:,} bytes, kept between runs {plan.lasting_bytes:,}, "
        f"inputs {plan.input_bytes:,} on {plan.device.name}"
    )
    return "\n".join(lines)


def _row(step: "Step") -> tuple[str, ...]:
    inputs = " ".join("x".join(map(str, t.spec.shape)) or "()" for t in step.node.inputs)
    outputs = " ".join("x".join(map(str, t.spec.shape)) or "()" for t in step.node.outputs)
    name = step.node.op.name
    function = getattr(step.node.op, "function", None)
    return (
        f"{name} {function}" if function else name,
        step.choice.impl.name,
        f"{inputs} -> {outputs}" if outputs else inputs,
        f"{step.nbytes:,}",
        f"{step.flops / 1e6:.2f}",
        PHASES[step.phase],
    )
