"""Plans as text, and why a step is done as it is or not at all."""

from typing import TYPE_CHECKING, Any

from nbcnn.ops.tensor import Node

if TYPE_CHECKING:
    from nbcnn.graph.plan import Plan, Step

HEADINGS = ("op", "implementation", "shapes", "bytes", "MFLOP", "tasks", "passes", "runs")
PHASES = ("once", "per weight change", "")


def describe(plan: "Plan") -> str:
    """A table of the plan's steps and a summary of its memory."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    rows += [_row(step) for step in plan.steps]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]
    flops = sum(step.flops for step in plan.steps)
    calls = sum(len(step.calls) for step in plan.steps)
    regions = "1 parallel region" if plan.regions == 1 else f"{plan.regions} parallel regions"
    lines.append(
        f"{len(plan.steps)} steps, {calls} kernel calls in {regions}, {flops / 1e6:.1f} MFLOP; "
        f"peak {plan.peak_bytes:,} bytes: arena {plan.arena_bytes:,}, kept between runs "
        f"{plan.lasting_bytes:,}, inputs and outputs {plan.input_bytes:,} on {plan.device.name}"
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
        " ".join(str(call.tasks) for call in step.calls),
        "" if step.stretch is None else f"{len(step.stretch.starts)} of {step.stretch.size}",
        PHASES[step.phase],
    )


def explain(step: "Step") -> str:
    """Which implementation was chosen, and why others were not."""
    refused = "; ".join(f"{name}: {reason}" for name, reason in step.choice.refused)
    shapes = ", ".join("x".join(map(str, t.spec.shape)) for t in step.node.inputs)
    return f"{step.node.op.name} {shapes}: {step.choice.impl.name}" + (
        f"; {refused}" if refused else ""
    )


def no_implementation(node: Node, device: Any) -> str:
    specs = ", ".join(f"{t.spec.shape} {t.dtype}" for t in node.inputs)
    return f"no implementation of {node.op.name} on {device.name} takes inputs {specs}"
