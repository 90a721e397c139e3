"""Forty variants of one file, driven by Hydra: `python examples/sweeps/hydra_app.py --multirun`.

Needs the extra `sweeps`. Hydra composes `args` from `conf/config.yaml` and the command line; the model is `net.yaml`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from trial import run


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    """One job: train a variant, and leave its result in the job's own folder. Hydra's sweepers take the loss."""
    args = OmegaConf.to_container(config.args, resolve=True)  # plain values: what confnet takes
    result = run({str(name): value for name, value in args.items()}, seed=config.seed)
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "result.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
    return result.loss


if __name__ == "__main__":
    main()
