"""Small random models of a few lines, right ones and wrong ones. What becomes of them: `tests/soundness`."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

__all__ = ["random_spec"]


def random_spec(random: Random) -> dict[str, Any]:
    """A model of up to seven steps over images, sequences or vectors; in about half of them something is wrong."""
    kind = random.choice(["image", "image", "sequence", "vector", "tokens"])
    return {"image": _image, "sequence": _sequence, "vector": _vector, "tokens": _tokens}[kind](random)


class _Writer:
    """Writes the children and the forward of a model while it follows the sizes that are known."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.children: dict[str, Any] = {}
        self.lines: list[str] = []

    def off(self, size: int) -> int:
        """A size as it should be, now and then another."""
        return size + self.random.choice([-1, 1, 2]) if self.random.random() < 0.07 and size > 2 else size

    def child(self, layer: str, arguments: Any) -> None:
        name = f"m{len(self.children)}"
        self.children[name] = {layer: arguments}
        self.lines.append(f"x = {name}(x)")

    def spec(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        made: dict[str, Any] = {"confnet": 1, "name": "Random", "inputs": dict(inputs), "children": self.children}
        if outputs is not None:
            made["outputs"] = dict(outputs)
        if not self.children:
            del made["children"]
        return made | {"forward": "\n".join([*self.lines, "return x"]) + "\n"}


def _image(random: Random) -> dict[str, Any]:
    w = _Writer(random)
    channels = first = random.choice([1, 2, 3, 4])
    flat = False
    for _ in range(random.randint(1, 6)):
        if flat:
            _after_flat(w, channels)
            continue
        step = random.choice(
            ["conv", "conv", "conv", "transposed", "pool", "norm", "act", "adaptive", "flatten", "upsample", "shuffle",
             "group", "pad", "skip", "cat", "slice", "mean", "unshuffle"]
        )  # fmt: skip
        if step == "conv":
            out = random.choice([2, 4, 6, 8])
            kernel, stride = random.choice([1, 2, 3, 5]), random.choice([1, 1, 2, 3])
            padding = random.choice([0, 0, 1, 2])
            w.child(
                "Conv2d",
                {
                    "in_channels": w.off(channels),
                    "out_channels": out,
                    "kernel_size": kernel,
                    "stride": stride,
                    "padding": padding,
                },
            )
            channels = out
        elif step == "transposed":
            out = random.choice([2, 4])
            w.child(
                "ConvTranspose2d",
                {
                    "in_channels": w.off(channels),
                    "out_channels": out,
                    "kernel_size": 2,
                    "stride": random.choice([1, 2]),
                },
            )
            channels = out
        elif step == "pool":
            w.child(
                random.choice(["MaxPool2d", "AvgPool2d"]),
                {"kernel_size": random.choice([2, 3]), "stride": random.choice([1, 2])},
            )
        elif step == "norm":
            w.child("BatchNorm2d", w.off(channels))
        elif step == "group":
            w.child("GroupNorm", [1, w.off(channels)])
        elif step == "act":
            w.child(random.choice(["ReLU", "GELU", "Sigmoid", "Softplus"]), {})
        elif step == "adaptive":
            size = random.choice([1, 2])
            w.child("AdaptiveAvgPool2d", size)
            if random.random() < 0.6:
                w.lines.append("x = x.flatten(1)")
                channels, flat = channels * size * size, True
        elif step == "flatten":
            w.lines.append(
                random.choice(
                    ["x = x.flatten(1)", "x = x.flatten(2)", "x = x.view(x.shape[0], -1)", "x = x.reshape(2, -1)"]
                )
            )
            return w.spec({"x": ["B", first, "H", "W"]})
        elif step == "upsample":
            w.child("Upsample", {"scale_factor": 2})
        elif step == "shuffle":
            w.child("PixelShuffle", 2)
            channels = channels // 4 or 1
        elif step == "unshuffle":
            w.child("PixelUnshuffle", 2)
            channels *= 4
        elif step == "pad":
            w.child("ReflectionPad2d", random.choice([1, 2]))
        elif step == "skip":
            name = f"m{len(w.children)}"
            kernel, padding, stride = random.choice([(3, 1, 1), (3, 0, 1), (1, 0, 1), (3, 1, 2), (2, 1, 1)])
            w.children[name] = {
                "Conv2d": {
                    "in_channels": channels,
                    "out_channels": w.off(channels),
                    "kernel_size": kernel,
                    "padding": padding,
                    "stride": stride,
                }
            }
            w.lines.append(f"x = x + {name}(x)")
        elif step == "cat":
            others = ["x", "x.relu()", "x.transpose(2, 3)", "x[:, :1]", "x[:, :, 1:]"]
            w.lines.append(f"x = torch.cat([x, {random.choice(others)}], dim=1)")
            channels *= 2
        elif step == "slice":
            w.lines.append(
                random.choice(["x = x[:, :, ::2]", "x = x[:, :, 1:-1]", "x = x[..., 3:]", "x = x[:, :, :5]"])
            )
        elif step == "mean":
            w.lines.append("x = x.mean(dim=(2, 3))")
            flat = True
    sides = random.choice([("H", "W"), ("H", "W"), ("H", "H"), ("2 * H", "W"), (12, 12)])
    outputs = {"y": ["B", channels, *(["_"] * 2)]} if not flat and random.random() < 0.3 else None
    return w.spec({"x": ["B", first, *sides]}, outputs)


def _after_flat(w: _Writer, features: int) -> None:
    out = w.random.choice([3, 5])
    if w.random.random() < 0.5:
        w.child("Linear", [w.off(features), features])
    else:
        w.lines.append(
            w.random.choice(
                ["x = x.relu()", "x = x.softmax(-1)", f"x = x.view(-1, {features})", f"x = x.view({out}, -1)"]
            )
        )


def _sequence(random: Random) -> dict[str, Any]:
    w = _Writer(random)
    features = first = random.choice([4, 6, 8])
    for _ in range(random.randint(1, 5)):
        step = random.choice(
            [
                "linear",
                "norm",
                "lstm",
                "attention",
                "conv",
                "transpose",
                "heads",
                "matmul",
                "add",
                "mean",
                "shift",
                "other",
                "encoder",
                "stack",
            ]
        )
        if step == "linear":
            out = random.choice([4, 6, 8])
            w.child("Linear", [w.off(features), out])
            features = out
        elif step == "norm":
            w.child("LayerNorm", w.off(features))
        elif step == "lstm":
            name = f"m{len(w.children)}"
            out = random.choice([3, 4])
            w.children[name] = {
                random.choice(["LSTM", "GRU"]): {
                    "input_size": w.off(features),
                    "hidden_size": out,
                    "batch_first": random.choice([True, True, False]),
                }
            }
            w.lines += [f"x, _ = {name}(x)"]
            features = out
        elif step == "attention":
            name = f"m{len(w.children)}"
            w.children[name] = {
                "MultiheadAttention": {"embed_dim": w.off(features) // 2 * 2, "num_heads": 2, "batch_first": True}
            }
            w.lines += [f"x, _ = {name}(x, x, x)"]
        elif step == "encoder":
            w.child(
                "TransformerEncoderLayer",
                {"d_model": w.off(features) // 2 * 2, "nhead": 2, "dim_feedforward": 8, "batch_first": True},
            )
        elif step == "conv":
            name = f"m{len(w.children)}"
            w.children[name] = {"Conv1d": [w.off(features), features, random.choice([1, 3])]}
            w.lines += [f"x = {name}(x.transpose(1, 2)).transpose(1, 2)"]
        elif step == "transpose":
            w.lines.append("x = x.transpose(1, 2)")
            break
        elif step == "heads":
            w.lines += [
                "b, t, f = x.shape",
                f"x = x.view(b, t, {random.choice([2, 3])}, -1).transpose(1, 2)",
                "x = x.transpose(1, 2).reshape(b, t, f)",
            ]
        elif step == "matmul":
            w.lines.append(
                random.choice(["x = x @ x.transpose(1, 2) @ x", "x = x @ x", "x = torch.einsum('btf,bsf->bts', x, x)"])
            )
            if "einsum" in w.lines[-1]:
                break
        elif step == "add":
            w.lines.append(
                random.choice(
                    [
                        "x = x + x.mean(dim=1)",
                        "x = x + x.mean(dim=1, keepdim=True)",
                        "x = x + x[:, :1]",
                        f"x = x + torch.ones({features})",
                    ]
                )
            )
        elif step == "mean":
            w.lines.append("x = x.mean(dim=1)")
            break
        elif step == "shift":
            w.lines.append(
                random.choice(
                    [
                        "x = x[:, 1:] - x[:, :-1]",
                        "x = x[:, ::2] + x[:, 1::2]",
                        "x = x + x.flip(1)",
                        "x = F.pad(x, (0, 0, 1, 0))",
                    ]
                )
            )
        elif step == "stack":
            w.lines.append(
                random.choice(
                    ["x = torch.stack([x, x], 1)", "x = x.reshape(-1, x.shape[-1])", "x = x.unfold(1, 4, 2).mean(-1)"]
                )
            )
            break
        elif step == "other" and "y" not in "".join(w.lines):
            w.lines.append(
                random.choice(["x = x + y", "x = torch.cat([x, y], dim=1)", "x = x @ y.transpose(1, 2) @ y"])
            )
            inputs = {"x": ["B", "T", first], "y": ["B", random.choice(["T", "S"]), features]}
            return w.spec(inputs)
    return w.spec({"x": ["B", random.choice(["T", "T", 6]), first]})


def _vector(random: Random) -> dict[str, Any]:
    w = _Writer(random)
    features = first = random.choice([4, 8, 12])
    for _ in range(random.randint(1, 6)):
        step = random.choice(["linear", "linear", "norm", "act", "view", "glu", "gate", "tile"])
        if step == "linear":
            out = random.choice([4, 8])
            w.child("Linear", [w.off(features), out])
            features = out
        elif step == "norm":
            w.child("BatchNorm1d", w.off(features))
        elif step == "act":
            w.child(random.choice(["ReLU", "SiLU", "Tanh", "Softmax"]), {})
        elif step == "view":
            w.lines.append(
                random.choice(
                    [
                        f"x = x.view(-1, {features})",
                        f"x = x.view(4, -1, {features})",
                        "x = x.view(x.shape[0], 2, -1)",
                        "x = x.view(2, -1)",
                        "x = x.unflatten(1, (-1, 4))",
                    ]
                )
            )
            break
        elif step == "glu":
            w.child("GLU", {})
            features //= 2
        elif step == "gate":
            w.lines.append(
                random.choice(
                    [
                        "x = x * x.sum(dim=1, keepdim=True)",
                        "x = x * x.sum(dim=1)",
                        "x = x / x.norm(dim=0)",
                        "x = x + x.t()",
                    ]
                )
            )
        elif step == "tile":
            w.lines.append(random.choice(["x = x.repeat(1, 2)", "x = x.chunk(2, dim=1)[0]", "x = x[:, 1:]"]))
            features = (
                2 * features
                if "repeat" in w.lines[-1]
                else features - 1
                if "1:" in w.lines[-1]
                else (features + 1) // 2
            )
    outputs = {"y": ["B", features]} if random.random() < 0.3 else None
    return w.spec({"x": [random.choice(["B", "B", 6]), first]}, outputs)


def _tokens(random: Random) -> dict[str, Any]:
    w = _Writer(random)
    rows, high = random.choice([20, 30]), random.choice([20, 25, 30])
    w.child("Embedding", [rows, 6])
    if random.random() < 0.6:
        w.children["p"] = {"Embedding": [random.choice([16, 32]), 6]}
        w.lines.append("x = x + p(torch.arange(x.shape[1]))")
    if random.random() < 0.5:
        w.child("Linear", [w.off(6), 5])
    if random.random() < 0.3:
        w.lines.append("x = x.mean(dim=1)")
    return w.spec(
        {
            "x": {
                "shape": ["B", "T"],
                "dtype": random.choice(["int64", "int64", "int32", "float32"]),
                "low": 0,
                "high": high,
            }
        }
    )
