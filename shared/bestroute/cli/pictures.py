"""What a decision and what came after it look like in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from bestroute.explanation import ArmVerdict
from bestroute.learning.evaluation.report import dollars
from bestroute.policy import Decision
from bestroute.trace import Step

_STYLES = {"chosen": "bold green", "below threshold": "dim", "excluded": "dim"}


def arms_table(arms: Sequence[ArmVerdict]) -> Table:
    """Every arm: match probability, estimated cost, and what became of it."""
    table = Table()
    table.add_column("arm", no_wrap=True)
    for name in ("match", "estimated"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in arms:
        match = each.match_probability
        why = f": {each.why}" if each.verdict == "excluded" else ""
        table.add_row(
            Text(str(each.arm)),
            "" if match is None else f"{match:.3f}",
            "" if each.estimated_cost is None else dollars(each.estimated_cost),
            Text(each.verdict + why),
            style=_STYLES.get(each.verdict),
        )
    return table


def decision_text(decision: Decision, reference: str) -> Text:
    """What was chosen, by which policy, and what it is expected to save."""
    policy = [f"Policy: {decision.policy}"]
    if decision.threshold is not None:
        policy.append(f"threshold {decision.threshold:g}")
    policy.append("calibrated" if decision.calibrated else "not calibrated")
    if decision.max_drop is not None:
        sure = "" if decision.confidence is None else f" with confidence {decision.confidence:g}"
        policy.append(f"promised drop {decision.max_drop:.1%}{sure}")
    told = f"{decision.arm}: {decision.reason}.\n{', '.join(policy)}."
    cost, whole = decision.estimated_cost, decision.estimated_costs.get(reference)
    if cost is not None and whole:
        told += f" Estimated {dollars(cost)}, {_against(cost, whole)} {reference} "
        told += f"({dollars(whole)})."
    return Text(told)


def trace_tree(policy: str, trace: Sequence[Step]) -> Tree:
    """The moves of a request: waves, what was seen, what each cost, why it stopped."""
    tree, wave = Tree(Text(policy), guide_style="dim"), 0
    for step, then in zip(trace, (*trace[1:], None), strict=True):
        if step.move == "accept":
            tree.add(Text.assemble(("accepted: ", "bold green"), (step.reason, "dim")))
            continue
        wave += not step.ahead
        branch = tree.add(
            Text.assemble(
                ("ahead: " if step.ahead else f"wave {wave}: ", "bold"),
                f"{_count(step)} of {step.model}",
                (f"  {dollars(step.cost)}  {step.ended - step.began:.1f} s", "dim"),
            )
        )
        sure = None if then is None else then.match_probabilities.get(step.model or "")
        branch.add(Text(step.reason, "dim"))
        seen = [step.saw] if step.saw else []
        if sure is not None:
            seen.append(f"{sure:.0%} sure to match the reference")
        if seen:
            branch.add(Text("; ".join(seen)))
    return tree


def _count(step: Step) -> str:
    return str(step.n) if step.received == step.n else f"{step.received} (of {step.n} asked)"


def _against(cost: float, whole: float) -> str:
    return f"{abs(1 - cost / whole):.0%} {'less' if cost <= whole else 'more'} than"
