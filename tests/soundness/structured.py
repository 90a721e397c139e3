"""Random models of the whole language: definitions, composites, containers, repeat, when, args, state, many inputs.

A model is written right; what is wrong with half of them is put in afterwards (`faults.py`). The writer follows each
value by its kind and by its width, a piece of code over args (`2 * dim`), so that a definition is right for any args.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

__all__ = ["structured_spec", "without_unused"]

ACTIVATIONS = ("ReLU", "GELU", "Tanh", "SiLU", "Softplus", "Identity", "ELU", "Sigmoid", "Hardswish")
CASTS = ("float64", "bfloat16", "int16", "uint8", "bool", "complex64")


@dataclass(frozen=True)
class Value:
    """A tensor of the code: `kind` says where its width stands, `tag` is equal for values of equal other sizes."""

    name: str
    kind: str  # "seq": [B, T, width]; "vec": [B, width]; "img": [B, width, H, W]
    width: str
    tag: str
    dtype: str = "float32"


@dataclass
class Names:
    """The args in force where a module is written: widths, flags, counts, modules and layers."""

    widths: list[str]
    flags: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)


def written(code: str) -> Any:
    """Code as a value of the file."""
    if code.isdigit():
        return int(code)
    return f"${code}" if code.isidentifier() else f"$({code})"


def replaced(code: str, by: Mapping[str, str]) -> str:
    """Code with names replaced; a number where none is left."""
    made = re.sub(r"[a-z_]\w*", lambda m: f"({by[m[0]]})" if m[0] in by else m[0], code)
    return made if re.search(r"[a-z_]", made) else str(eval(made))


@dataclass(frozen=True)
class Definition:
    """A definition that may be used: its widths as code over its `dim`, and what it takes besides."""

    name: str
    kind: str
    out: str
    keeps: bool
    args: tuple[str, ...]
    inputs: int = 1


class Writer:
    """Writes one document."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.definitions: list[Definition] = []
        self.modules: dict[str, Any] = {}
        self.args: dict[str, Any] = {}
        self.let: dict[str, Any] = {}
        self.tags = 0
        self.chance = random.random
        self.kind = random.choice(["seq", "seq", "vec", "img"])

    def tag(self) -> str:
        self.tags += 1
        return f"t{self.tags}"

    # --- modules ------------------------------------------------------------------------------------------------------

    def module(self, kind: str, width: str, names: Names, depth: int) -> tuple[Any, str, bool]:
        """A module for a value: what is written, the width that comes out, and whether other sizes stay."""
        if depth and self.chance() < 0.5:
            usable = [d for d in self.definitions if d.kind == kind and d.inputs == 1]
            choices: list[Callable[[], tuple[Any, str, bool]]] = [
                lambda: self.sequential(kind, width, names, depth - 1),
                lambda: self.sequential(kind, width, names, depth - 1),
                lambda: self.inline(kind, width, names, depth - 1),
            ]
            if usable:
                choices += [lambda: self.use(self.random.choice(usable), width, names)] * 4
            return self.random.choice(choices)()
        return self.leaf(kind, width, names)

    def keeping(self, kind: str, width: str, names: Names) -> Any:
        """A module that changes no size."""
        options: list[Any] = [*ACTIVATIONS[:5], {"Dropout": 0.1}, "Identity", {"PReLU": {}}]
        options += [written(name) for name in names.modules]
        if kind == "img":
            options += [{"BatchNorm2d": written(width)}, {"GroupNorm": [1, written(width)]}, {"Dropout2d": {"p": 0.1}}]
            options.append(self.conv(width, width, {"kernel_size": 3, "padding": self.random.choice([1, "same"])}))
        else:
            options += [{"LayerNorm": written(width)}, {"Linear": [written(width), written(width)]}]
            options += [{"$" + name: written(width)} for name in names.layers]
            options.append({"Linear": {"in_features": written(width), "out_features": written(width), "bias": False}})
        if kind == "vec":
            options.append({"BatchNorm1d": {"num_features": written(width)}})
        if kind == "seq" and self.chance() < 0.3:
            options.append(self.encoder(width))
        return self.random.choice(options)

    def encoder(self, width: str) -> Any:
        layer = {
            "TransformerEncoderLayer": {
                "d_model": written(width), "nhead": 2, "dim_feedforward": 8, "batch_first": True,
            }
        }  # fmt: skip
        return layer if self.chance() < 0.5 else {"TransformerEncoder": {"encoder_layer": layer, "num_layers": 2}}

    def conv(self, width: str, out: str, more: Mapping[str, Any]) -> Any:
        return {"Conv2d": {"in_channels": written(width), "out_channels": written(out), **more}}

    def leaf(self, kind: str, width: str, names: Names) -> tuple[Any, str, bool]:
        out = self.width(names)
        if self.chance() < 0.5:
            return self.keeping(kind, width, names), width, True
        if kind != "img":
            return {"Linear": [written(width), written(out)]}, out, True
        choice = self.random.randrange(6)
        if choice < 3:
            more = {"kernel_size": self.random.choice([1, 3]), "stride": self.random.choice([1, 2])}
            return self.conv(width, out, more), out, False
        if choice == 3:
            return {self.random.choice(["MaxPool2d", "AvgPool2d"]): self.random.choice([2, 3])}, width, False
        if choice == 4:
            return {"ConvTranspose2d": [written(width), written(out), 2, 2]}, out, False
        return {"Upsample": {"scale_factor": 2}}, width, False

    def width(self, names: Names) -> str:
        options = [*names.widths, "4", "6", "8"]
        chosen = self.random.choice(options)
        return f"2 * {chosen}" if chosen in names.widths and self.chance() < 0.3 else chosen

    def sequential(self, kind: str, width: str, names: Names, depth: int) -> tuple[Any, str, bool]:
        """A container: items, some left out by `when`, some repeated, in a list or under names."""
        items: list[Any] = []
        keeps = True
        for _ in range(self.random.randint(1, 3)):
            choice = self.chance()
            if choice < 0.2:
                items.append(self.repeat(kind, width, names))
            elif choice < 0.4:
                items.append(self.conditional(kind, width, names))
            else:
                item, width, kept = self.module(kind, width, names, depth)
                items.append(item)
                keeps = keeps and kept
        if self.chance() < 0.3 and not any(isinstance(item, dict) and "repeat" in item for item in items):
            return {"Sequential": {f"s{index}": item for index, item in enumerate(items)}}, width, keeps
        return {"Sequential": items}, width, keeps

    def repeat(self, kind: str, width: str, names: Names) -> Any:
        count = self.random.choice([1, 2, 3, *map(written, names.counts)])
        choice = self.random.randrange(3)
        if choice == 0:
            return {"repeat": count, "module": self.keeping(kind, width, names)}
        if choice == 1:
            made = [self.keeping(kind, width, names) for _ in range(2)]
            return {"repeat": count, "as": "i", "children": [*made, {"Dropout": "$(0.1 * min(i, 3))"}]}
        return {"repeat": [0.1, 0.2], "as": "rate", "module": {"Dropout": {"p": "$rate"}}}

    def conditional(self, kind: str, width: str, names: Names) -> Any:
        flag = self.random.choice([True, False, *(f"${name}" for name in names.flags)])
        if isinstance(flag, str) and self.chance() < 0.3:
            flag = f"$(not {flag[1:]})"
        item = self.keeping(kind, width, names)
        item = {item: {}} if isinstance(item, str) and not item.startswith("$") else item
        if isinstance(item, str):
            return item
        made = {"when": flag, **item}
        if self.chance() < 0.5:
            made["else"] = self.keeping(kind, width, names)
        return made

    def inline(self, kind: str, width: str, names: Names, depth: int) -> tuple[Any, str, bool]:
        """A composite in place."""
        body = Body(self, names, [Value("x", kind, width, "in")], depth)
        result = body.finish(single=True)
        return body.written(), result.width, result.tag == "in"

    # --- definitions --------------------------------------------------------------------------------------------------

    def define(self) -> None:
        """A definition for one kind of value, or one that joins two."""
        name = f"Block{len(self.definitions)}"
        kind = self.kind if self.chance() < 0.8 else self.random.choice(["seq", "vec", "img"])
        names = Names(["dim"])
        args: dict[str, Any] = {"dim": "int"}
        if self.chance() < 0.4:
            names.modules.append("act")
            args["act"] = {"type": "module", "default": self.random.choice(ACTIVATIONS)}
        if self.chance() < 0.3 and kind != "img":
            names.layers.append("norm")
            args["norm"] = {"type": "layer", "default": "LayerNorm"}
        if self.chance() < 0.4:
            names.flags.append("deep")
            args["deep"] = self.chance() < 0.5
        if self.chance() < 0.3:
            names.counts.append("depth")
            args["depth"] = self.random.choice([1, 2])
        made: dict[str, Any] = {"args": args}
        if self.chance() < 0.3:
            made["let"] = {"inner": "$(2 * dim)"}
            names.widths.append("inner")
        two = self.chance() < 0.25
        if not two and self.chance() < 0.25:  # a definition that is a container
            item, out, keeps = self.sequential(kind, "dim", names, 1)
            made |= item
        else:
            values = [Value("a", kind, "dim", "in"), Value("b", kind, "dim", "in")] if two else []
            body = Body(self, names, values or [Value("x", kind, "dim", "in")], 1)
            result = body.finish(single=True)
            out, keeps = result.width, result.tag == "in"
            made |= body.written()
            if two or self.chance() < 0.6:
                made["inputs"] = {value.name: shape_of(value.kind, value.width) for value in body.inputs}
                if self.chance() < 0.6:
                    sizes = shape_of(result.kind, out) if keeps else ["_" for _ in shape_of(result.kind, out)]
                    made["outputs"] = {"y": sizes}
            if result.kind != kind:
                return
        self.modules[name] = made
        out = replaced(out, {"inner": "2 * dim"})
        self.definitions.append(Definition(name, kind, out, keeps, tuple(args), 2 if two else 1))

    def use(self, definition: Definition, width: str, names: Names) -> tuple[Any, str, bool]:
        """A definition, called with its args by place or by name."""
        out = replaced(definition.out, {"dim": width})
        if self.chance() < 0.4:
            return {definition.name: written(width)}, out, definition.keeps
        given: dict[str, Any] = {"dim": written(width)}
        if "act" in definition.args and self.chance() < 0.6:
            given["act"] = self.random.choice([*ACTIVATIONS, {"Dropout": 0.2}, {"Softmax": {"dim": -1}}])
        if "norm" in definition.args and self.chance() < 0.5:
            given["norm"] = self.random.choice(["LayerNorm", "RMSNorm"])
        if "deep" in definition.args and self.chance() < 0.5:
            given["deep"] = self.random.choice([True, False, *map(written, names.flags)])
        if "depth" in definition.args and self.chance() < 0.5:
            given["depth"] = self.random.choice([0, 1, 3, *map(written, names.counts)])
        return {definition.name: given}, out, definition.keeps


def shape_of(kind: str, width: str) -> list[Any]:
    """The sizes of a contract."""
    size = int(width) if width.isdigit() else width
    return {"seq": ["B", "T", size], "vec": ["B", size], "img": ["B", size, "H", "W"]}[kind]


class Body:
    """Writes children, state and forward of one composite."""

    def __init__(self, writer: Writer, names: Names, inputs: list[Value], depth: int) -> None:
        self.writer, self.names, self.inputs, self.depth = writer, names, inputs, depth
        self.random, self.chance = writer.random, writer.random.random
        self.pool = list(inputs)
        self.made: dict[str, dict[str, Any]] = {"children": {}, "parameters": {}, "buffers": {}, "methods": {}}
        self.lines: list[str] = []
        self.count = 0

    def written(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if [value.name for value in self.inputs] != ["x"]:
            found["inputs"] = [value.name for value in self.inputs]
        found |= {key: table for key, table in self.made.items() if table}
        return found | {"forward": "\n".join(self.lines) + "\n"}

    def finish(self, *, single: bool, steps: int | None = None) -> Value:
        """Write steps, and return the last value: of the kind of the first input, for a module that stands in a row."""
        for _ in range(steps or self.random.randint(1, 3)):
            self.step()
        last = self.pool[-1]
        if single and last.kind != self.inputs[0].kind:
            last = next(value for value in reversed(self.pool) if value.kind == self.inputs[0].kind)
        if single:
            self.lines.append(f"return {last.name}")
        return last

    def child(self, module: Any) -> str:
        name = f"m{len(self.made['children'])}"
        self.made["children"][name] = module
        return name

    def state(self, table: str, contents: Mapping[str, Any]) -> str:
        name = f"{table[0]}{len(self.made[table])}"
        self.made[table][name] = dict(contents)
        return name

    def let(self, code: str, like: Value) -> Value:
        """A new local with the code's value."""
        self.count += 1
        made = replace(like, name=f"v{self.count}")
        self.lines.append(f"{made.name} = {code}")
        self.pool.append(made)
        return made

    def step(self) -> None:
        value = self.random.choice(self.pool[-3:])
        steps = [self.call, self.call, self.call, self.join, self.scale, self.loop, self.choose, self.dictionary]
        steps += [self.optional, self.method, self.residual, self.cast, self.two, self.reduce, self.tied]
        if value.kind == "seq":
            # A recurrent layer takes one step after another on meta: one model of many has it.
            steps += [self.attend, self.shift, self.recur if self.chance() < 0.25 else self.residual]
        self.random.choice(steps)(value)

    def call(self, value: Value) -> None:
        usable = [d for d in self.writer.definitions if d.kind == value.kind and d.inputs == 1]
        if usable and self.chance() < 0.6:
            made = self.writer.use(self.random.choice(usable), value.width, self.names)
        else:
            made = self.writer.module(value.kind, value.width, self.names, self.depth)
        module, width, keeps = made
        tag = value.tag if keeps else self.writer.tag()
        self.let(f"{self.child(module)}({value.name})", replace(value, width=width, tag=tag))

    def residual(self, value: Value) -> None:
        module = self.writer.keeping(value.kind, value.width, self.names)
        self.let(f"{value.name} + {self.child(module)}({value.name})", value)

    def join(self, value: Value) -> None:
        """Two values of like sizes: added, multiplied or joined."""
        other = self.random.choice([v for v in self.pool if (v.kind, v.tag) == (value.kind, value.tag)])
        if other.width == value.width and self.chance() < 0.5:
            code = f"{value.name} {self.random.choice('+-*')} {other.name}"
            if self.chance() < 0.2:
                code = f"torch.maximum({value.name}, {other.name})"
            self.let(code, value)
            return
        dim = {"seq": "-1", "vec": "1", "img": "1"}[value.kind]
        width = replaced(f"{value.width} + {other.width}", {})
        width = width if width.isdigit() else f"({width})"
        self.let(f"torch.cat([{value.name}, {other.name}], dim={dim})", replace(value, width=width))

    def scale(self, value: Value) -> None:
        """A parameter or buffer of the value's width."""
        size: Any = int(value.width) if value.width.isdigit() else value.width
        sizes = [size, 1, 1] if value.kind == "img" else [size]
        choice = self.random.randrange(5)
        if choice == 0:
            name = self.state("parameters", {"shape": sizes, "init": "ones_"})
            self.let(f"{value.name} * {name}", value)
        elif choice == 1:
            name = self.state("buffers", {"shape": sizes, "fill": 0.5})
            self.let(f"{value.name} + {name}", value)
        elif choice == 2:
            name = self.state("buffers", {"value": self.random.choice([2.0, 3]), "persistent": False})
            self.let(f"{value.name} / {name}", value)
        elif choice == 3:
            flag = self.random.choice([True, False, *(f"${name}" for name in self.names.flags)])
            name = self.state("parameters", {"shape": sizes, "when": flag})
            self.let(f"{value.name} + {name} if {name} is not None else {value.name}", value)
        else:
            name = self.state("buffers", {"value": f"torch.arange({size}) * 1.0"})
            view = ".view(-1, 1, 1)" if value.kind == "img" else ""
            self.let(f"{value.name} + {name}{view}", value)

    def loop(self, value: Value) -> None:
        """A list of modules, run one after the other."""
        item = self.writer.repeat(value.kind, value.width, self.names)
        more = [self.writer.keeping(value.kind, value.width, self.names)] if self.chance() < 0.5 else []
        name = self.child({"ModuleList": [item, *more]})
        made = self.let(value.name, value)
        self.lines += [f"for layer in {name}:", f"    {made.name} = layer({made.name})"]

    def dictionary(self, value: Value) -> None:
        entries = {key: self.writer.keeping(value.kind, value.width, self.names) for key in ("left", "right")}
        name = self.child({"ModuleDict": entries})
        code = f'{name}["left"]({value.name})'
        self.let(code if self.chance() < 0.5 else f'{code} + {name}["right"]({value.name})', value)

    def choose(self, value: Value) -> None:
        """Control flow over a flag, or over the mode."""
        flag = self.random.choice(["training", *self.names.flags])
        module = self.writer.keeping(value.kind, value.width, self.names)
        if self.chance() < 0.5:
            self.let(f"{self.child(module)}({value.name}) if {flag} else {value.name}", value)
            return
        made = self.let(value.name, value)
        name = self.child(module)
        self.lines += [f"if {flag}:", f"    {made.name} = {name}({made.name})"]
        self.lines += ["else:", f"    {made.name} = -{made.name}"]

    def optional(self, value: Value) -> None:
        """A child that `when` may leave out."""
        module = self.writer.conditional(value.kind, value.width, self.names)
        name = self.child(module)
        made = self.let(value.name, value)
        self.lines += [f"if {name} is not None:", f"    {made.name} = {name}({made.name})"]

    def method(self, value: Value) -> None:
        module = self.writer.keeping(value.kind, value.width, self.names)
        name = f"step{len(self.made['methods'])}"
        self.made["methods"][name] = f"return torch.tanh({self.child(module)}(x))"
        self.let(f"{self.random.choice(['', 'self.'])}{name}({value.name})", value)

    def cast(self, value: Value) -> None:
        there = ".to(torch.float64).to(torch.float32)"
        code = self.random.choice([there, ".float()", ".clamp(min=0)", ".abs().sqrt()"])
        self.let(f"{value.name}{code}", value)

    def two(self, value: Value) -> None:
        """A definition that takes two values."""
        usable = [d for d in self.writer.definitions if d.inputs == 2 and d.kind == value.kind]
        others = [v for v in self.pool if (v.kind, v.tag, v.width) == (value.kind, value.tag, value.width)]
        if not usable:
            self.residual(value)
            return
        definition = self.random.choice(usable)
        module, width, keeps = self.writer.use(definition, value.width, self.names)
        tag = value.tag if keeps else self.writer.tag()
        given = f"{value.name}, {self.random.choice(others).name}"
        self.let(f"{self.child(module)}({given})", replace(value, width=width, tag=tag))

    def reduce(self, value: Value) -> None:
        """To a vector, and sometimes back by a broadcast."""
        if value.kind == "vec":
            self.residual(value)
            return
        dims, rest = ("1", ".unsqueeze(1)") if value.kind == "seq" else ("(2, 3)", "[:, :, None, None]")
        vector = replace(value, kind="vec", tag=f"{value.tag.split('/')[0]}/B")
        reduced = self.let(f"{value.name}.mean(dim={dims})", vector)
        if self.chance() < 0.5:
            self.let(f"{value.name} * {reduced.name}{rest}.sigmoid()", value)

    def tied(self, value: Value) -> None:
        """A module under two names, or one called twice."""
        name = self.child(self.writer.keeping(value.kind, value.width, self.names))
        if self.made["children"][name] == "$act" or self.chance() < 0.5:
            self.let(f"{name}({name}({value.name}))", value)
            return
        other = self.child({"share": name})
        self.let(f"{other}({value.name}) + {name}({value.name})", value)

    def attend(self, value: Value) -> None:
        name = self.child(
            {"MultiheadAttention": {"embed_dim": written(value.width), "num_heads": 2, "batch_first": True}}
        )
        self.let(f"{name}({value.name}, {value.name}, {value.name}, need_weights=False)[0]", value)

    def recur(self, value: Value) -> None:
        out = self.writer.width(self.names)
        kind = self.random.choice(["LSTM", "GRU"])
        sizes = {"input_size": written(value.width), "hidden_size": written(out)}
        name = self.child({kind: {**sizes, "batch_first": True}})
        self.let(f"{name}({value.name})[0]", replace(value, width=out))

    def shift(self, value: Value) -> None:
        code = self.random.choice(["[:, 1:]", "[:, ::2]", "[:, :3]", ".flip(1)", ".repeat(1, 2, 1)", "[:, -2:]"])
        tag = value.tag if "flip" in code else self.writer.tag()
        self.let(f"{value.name}{code}", replace(value, tag=tag))


# --- documents --------------------------------------------------------------------------------------------------------


def structured_spec(random: Random) -> dict[str, Any]:
    """A document: args, definitions, up to three inputs, and a root that is a composite or a container."""
    w = Writer(random)
    names = Names([])
    if w.chance() < 0.7:
        w.args["width"] = random.choice([4, 8, {"type": "int", "default": 6, "ge": 1}])
        names.widths.append("width")
    if w.chance() < 0.4:
        w.args["deep"] = w.chance() < 0.5
        names.flags.append("deep")
    if w.chance() < 0.4:
        w.args["depth"] = random.choice([1, 2, 3])
        names.counts.append("depth")
    if w.chance() < 0.3:
        w.args["act"] = {"type": "module", "default": random.choice(["ReLU", {"LeakyReLU": 0.1}, {"Dropout": 0.1}])}
        names.modules.append("act")
    for _ in range(random.choice([0, 1, 1, 2])):
        w.define()
    kind = w.kind
    width = random.choice([*names.widths, "4", "8"])
    if w.chance() < 0.15:
        item, out, keeps = w.sequential(kind, width, names, 2)
        made: dict[str, Any] = {"inputs": {"x": shape_of(kind, width)}}
        if keeps and w.chance() < 0.5:
            made["outputs"] = {"y": shape_of(kind, out)}
        return _document(w, {**made, **item})
    inputs, values, lines = _inputs(w, kind, width)
    body = Body(w, names, values, 2)
    body.inputs = []
    body.lines += lines(body)
    last = body.finish(single=False, steps=random.randint(2, 5))
    outputs = _returned(w, body, last)
    made = {"inputs": inputs, **({"outputs": outputs} if outputs else {}), **body.written()}
    made["inputs"] = inputs
    return _document(w, made)


def _document(w: Writer, made: dict[str, Any]) -> dict[str, Any]:
    head: dict[str, Any] = {"confnet": 1, "name": "Random"}
    if w.args:
        head["args"] = w.args
    if w.modules:
        head["modules"] = w.modules
    return without_unused({**head, **made})


def without_unused(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without definitions that nothing uses: nothing would tell whether they are right."""
    modules = spec.get("modules", {})
    rest = {key: value for key, value in spec.items() if key != "modules"}

    def mentioned(name: str) -> bool:
        others = [definition for other, definition in modules.items() if other != name]
        return f'"{name}"' in json.dumps([rest, others])

    while not all(map(mentioned, modules)):
        modules = {name: definition for name, definition in modules.items() if mentioned(name)}
    if not modules:
        return rest
    return {key: modules if key == "modules" else value for key, value in spec.items()}


def _inputs(w: Writer, kind: str, width: str) -> tuple[dict[str, Any], list[Value], Callable[[Body], list[str]]]:
    """The inputs of a document, the values that the code begins with, and the lines that make use of the others."""
    random = w.random
    inputs: dict[str, Any] = {"x": shape_of(kind, width)}
    values = [Value("x", kind, width, "in")]
    lines: list[str] = []
    table: dict[str, Any] = {}
    if kind == "seq" and w.chance() < 0.25:
        inputs["x"] = {"shape": ["B", "T"], "dtype": random.choice(["int64", "int32"]), "low": 0, "high": 20}
        table["embed"] = {"Embedding": [random.choice([20, 24]), written(width)]}
        lines.append("x = embed(x)")
    elif w.chance() < 0.15:
        inputs["x"] = {"shape": inputs["x"], "dtype": "float64"}
        lines.append("x = x.to(torch.float32)")
    if w.chance() < 0.35:
        inputs["y"] = shape_of(kind, width)
        values.append(Value("y", kind, width, "in"))
    if w.chance() < 0.25 and kind != "vec":
        inputs["z"] = ["B", width if not width.isdigit() else int(width)]
        values.append(Value("z", "vec", width, "in/B"))
    if w.chance() < 0.15:
        inputs["states"] = {"type": "list", "item": shape_of(kind, width)}
        lines.append("x = x + sum(states)" if w.chance() < 0.5 else "x = x + states[0] * states[1]")
    if w.chance() < 0.2:
        inputs["flag"] = {"type": "bool"}
        lines.append("x = x * 2 if flag else x")
    if w.chance() < 0.25:
        inputs["mask"] = {"shape": shape_of(kind, width), "default": None}
        lines += ["if mask is not None:", "    x = x * mask"]
    if w.chance() < 0.15:
        inputs["gain"] = 2.0
        lines.append("x = x * gain")

    def begin(body: Body) -> list[str]:
        body.made["children"].update(table)
        return lines

    return inputs, values, begin


def _returned(w: Writer, body: Body, last: Value) -> dict[str, Any]:
    """The last line, and sometimes a contract of what comes out."""
    random = w.random
    choice = w.chance()
    known = last.tag in ("in", "in/B")
    sizes = shape_of(last.kind, last.width) if known else ["_"] * len(shape_of(last.kind, last.width))
    if choice < 0.15:
        cast = random.choice([" > 0", *(f".to(torch.{d})" for d in CASTS), ".long()", ".half()", ".int()"])
        code = f"{last.name}{cast}"
        body.lines.append(f"return {code}")
        return {"y": sizes} if w.chance() < 0.6 else {}
    if choice < 0.3:
        other = random.choice(body.pool)
        body.lines.append(f"return {last.name}, {other.name}.argmax(dim=-1)")
        return {"y": sizes, "best": "any"} if w.chance() < 0.5 else {}
    if choice < 0.4:
        body.lines.append(f'return {{"y": {last.name}, "mean": {last.name}.mean()}}')
        return {"y": sizes, "mean": []} if w.chance() < 0.5 else {}
    body.lines.append(f"return {last.name}")
    return {"y": sizes} if w.chance() < 0.4 else {}
