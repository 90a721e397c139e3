"""Forty variants of one file, driven by Optuna: `python examples/sweeps/optuna_study.py`. Needs the extra `sweeps`."""

from __future__ import annotations

import optuna
from rich.console import Console
from trial import GRID, run

import confnet


def objective(trial: optuna.Trial) -> float:
    """The loss of a variant. A combination that the file does not allow (a `require`, a bound) is no failure."""
    args = {name: trial.suggest_categorical(name, values) for name, values in GRID.items()}
    try:
        result = run(args)
    except confnet.ConfnetError as error:
        raise optuna.TrialPruned(str(error)) from error
    trial.set_user_attr("parameters", result.parameters)
    return result.loss


def study(trials: int = 40) -> optuna.Study:
    """All of the grid. For a search, leave the sampler out and suggest from ranges."""
    made = optuna.create_study(sampler=optuna.samplers.GridSampler(GRID, seed=0))
    made.optimize(objective, n_trials=trials)
    return made


if __name__ == "__main__":
    best = study().best_trial
    Console().print(f"{best.value:.4f}  {best.user_attrs['parameters']:,} parameters  {best.params}")
