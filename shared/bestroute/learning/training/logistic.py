"""Linear heads, many at once: logistic regression with soft targets, ridge regression."""

from __future__ import annotations

import numpy as np

from bestroute.routers.base import Floats
from bestroute.routers.heads import sigmoid

_STEPS, _TOLERANCE = 2000, 1e-6


def soft_logistic(inputs: Floats, targets: Floats, l2: float) -> tuple[Floats, Floats]:
    """Minimise, for each head, mean cross-entropy + l2 / 2 |w|^2; the bias is free.

    Each step solves with the fixed bound X'X / (4 B) + l2 I on the Hessian, inverted once for
    all heads (Boehning 1992): there is no step size to choose. Nesterov's momentum, restarted
    where it points uphill (O'Donoghue and Candes 2015), makes the steps few.
    Targets are drawn to within 1 / (2 B) of 0 and 1, so that a head whose targets are all 0,
    or all 1, has a finite bias.

    Args:
        inputs: [B, D].
        targets: [B, H] in [0, 1].
        l2: Penalty, above 0.

    Returns:
        Weights [D, H] and biases [H].
    """
    rows, width = inputs.shape
    design = np.hstack([inputs, np.ones((rows, 1))])
    soft = np.clip(targets, 0.5 / rows, 1 - 0.5 / rows)
    penalty = np.append(np.full(width, l2), 0.0)
    inverse = np.linalg.inv(design.T @ design / (4 * rows) + np.diag(penalty))
    mean = soft.mean(axis=0)
    solution = np.zeros((width + 1, targets.shape[1]))
    solution[-1] = np.log(mean / (1 - mean))
    ahead, momentum = solution, 1.0
    for _ in range(_STEPS):
        gap = sigmoid(design @ ahead) - soft
        slope = design.T @ gap / rows + penalty[:, None] * ahead
        before, solution = solution, ahead - inverse @ slope
        moved = solution - before
        if np.abs(moved).max(initial=0.0) < _TOLERANCE:
            break
        if float(np.vdot(slope, moved)) > 0:
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = solution + (momentum - 1) / grown * moved
        momentum = grown
    return solution[:-1], solution[-1]


def ridge(inputs: Floats, targets: Floats, l2: float) -> tuple[Floats, Floats]:
    """Minimise, for each head, mean squared error + l2 |w|^2; the bias is free.

    Args:
        inputs: [B, D].
        targets: [B] or [B, H].
        l2: Penalty, above 0.

    Returns:
        Weights [D] or [D, H], and biases.
    """
    centre, middle = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - centre
    gram = centred.T @ centred / len(inputs) + l2 * np.eye(inputs.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (targets - middle) / len(inputs))
    return weight, np.asarray(middle - centre @ weight)


def log_loss(probabilities: Floats, targets: Floats) -> Floats:
    """Cross-entropy with soft targets, elementwise, in nats."""
    inner = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return -(targets * np.log(inner) + (1 - targets) * np.log1p(-inner))
