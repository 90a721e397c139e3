"""Built on meta first: every tensor has its values afterwards, each drawn once, and all that was said of it holds."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import confnet
from confnet.blueprint import Blueprint


@confnet.register(name="MaterializedScaled")
class Scaled(nn.Module):
    """Draws without a `reset_parameters`, and keeps a tensor that only it knows of."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.randn(4))
        self.offset = torch.rand(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(x) * self.scale + self.offset
        return result


@confnet.initializer(name="materialized_fives_")
def fives_(tensor: torch.Tensor) -> None:
    CALLED.append(tensor.device.type)
    tensor.fill_(5)


@confnet.applies(name="materialized_doubled")
def doubled(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.mul_(2)


CALLED: list[str] = []
LLAMA = Path(__file__).resolve().parent.parent / "examples" / "zoo" / "llama.yaml"

CASES = {
    "layers": "Sequential: [{Linear: [4, 4]}, {BatchNorm1d: 4}, {Embedding: [5, 4, 0]}, {PReLU: 4}]",
    "recurrent": "Sequential: [{LSTM: [4, 3, 2]}]",
    "transformer": (
        "Transformer: {d_model: 8, nhead: 2, num_encoder_layers: 2, num_decoder_layers: 1, batch_first: true}"
    ),
    "copies": (
        "TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: {d_model: 8, nhead: 2, batch_first: true}},"
        " num_layers: 3}"
    ),
    "copies of rules": (
        "children:\n  enc:\n    TransformerEncoder:\n      num_layers: 2\n      encoder_layer:\n"
        "        TransformerEncoderLayer: {d_model: 8, nhead: 2, batch_first: true}\n"
        "        apply: [{where: {name: linear1}, init: {weight: normal_}}]\nforward: return enc(x)"
    ),
    "tie": (
        "children: {a: {Embedding: [6, 4]}, b: {Linear: {in_features: 4, out_features: 6, bias: false}}}\n"
        "tie: {b.weight: a.weight}\nforward: return b(a(x))"
    ),
    "tie before": (
        "children: {b: {Linear: {in_features: 4, out_features: 6, bias: false}}, a: {Embedding: [6, 4]}}\n"
        "tie: {b.weight: a.weight}\nforward: return b(a(x))"
    ),
    "share": "children: {a: {Linear: [4, 4]}, b: {share: a}}\nforward: return b(a(x))",
    "state": (
        "parameters:\n  w: {shape: [3], init: {value: torch.randn(shape)}}\n  z: {shape: [2]}\n"
        "  f: {shape: [2], requires_grad: false}\n"
        "buffers: {n: {value: torch.rand(3)}, t: {value: '2 * w.detach() + n', persistent: false}, c: {value: 3}}\n"
        "forward: return x + (w + t).sum() + z.sum() + f.sum()"
    ),
    "parametrized": (
        "Sequential:\n- {Linear: [4, 4], parametrize: {weight: spectral_norm}}\n"
        "- {Linear: [4, 4], parametrize: {weight: weight_norm}, init: {weight: orthogonal_}}\n"
        "- {Linear: [4, 4], parametrize: {weight: orthogonal}}"
    ),
    "dtype": (
        "children: {a: {Linear: [4, 4]}}\nforward: return a(x)\n"
        "apply: [{where: {type: Linear}, init: {weight: orthogonal_}, dtype: bfloat16}]"
    ),
    "registered": (
        "children: {r: {MaterializedScaled: {inner: {Linear: [4, 4]}}}, l: {Linear: [4, 4]}}\nforward: return l(r(x))"
    ),
    "registered function": (
        "children: {a: {Linear: [4, 4]}, b: {Linear: [4, 4], init: {bias: materialized_fives_}}}\n"
        "forward: return b(a(x))\n"
        "apply: [{where: {type: Linear}, init: {weight: ones_}}, {where: {name: a}, call: materialized_doubled}]"
    ),
    "weights of a loss": "children: {l: {NLLLoss: {weight: [1.0, 2.0]}}}\ninputs: [x, y]\nforward: return l(x, y)",
    "lazy": "Sequential: [{LazyLinear: 4}]",
}


def build(case: str, **options: Any) -> Any:
    return confnet.build(confnet.loads(f"confnet: 1\n{CASES.get(case, case)}"), **options)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """All that a model holds, under every name."""
    found: dict[str, torch.Tensor] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for table in (module._parameters, module._buffers, module.__dict__):
            found.update({f"{path}.{k}": v for k, v in table.items() if isinstance(v, torch.Tensor)})
    return found


def assert_same(one: nn.Module, other: nn.Module) -> None:
    left, right = tensors(one), tensors(other)
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert right[name].device == tensor.device, name
        assert type(tensor) is type(right[name])
        if not nn.parameter.is_lazy(tensor):
            assert torch.equal(tensor, right[name]), name
            assert tensor.requires_grad == right[name].requires_grad, name
    assert _ties(left) == _ties(right)
    assert confnet.init_report(one) == confnet.init_report(other)


def _ties(found: dict[str, torch.Tensor]) -> list[list[str]]:
    names: dict[int, list[str]] = {}
    for name, tensor in found.items():
        names.setdefault(id(tensor), []).append(name)
    return [group for group in names.values() if len(group) > 1]


@pytest.mark.parametrize("case", CASES)
def test_meta_then_real_is_the_real_build(case: str) -> None:
    built = build(case, seed=3)
    assert all(not tensor.is_meta for tensor in tensors(built).values())
    abstract = build(case, device="meta")
    assert confnet.materialize(abstract, "cpu", seed=3) is abstract
    assert_same(built, abstract)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_an_abstract_model(case: str, copied: Any) -> None:
    abstract = build(case, device="meta")
    if any(map(parametrize.is_parametrized, abstract.modules())) and copied is not copy.deepcopy:
        pytest.skip("torch does not pickle parametrized modules")
    assert_same(build(case, seed=3), confnet.materialize(copied(abstract), "cpu", seed=3))


@pytest.mark.parametrize("case", CASES)
def test_as_real_construction_but_for_the_draw(case: str) -> None:
    """Names, shapes, dtypes, ties, what set each parameter, and everything that is not random."""
    torch.manual_seed(0)  # norms of orthogonal rows are random in their last bit, and now and then all exactly 1
    real, once = build(case, seeding="torch"), build(case, seed=3)
    left, right = tensors(real), tensors(once)
    assert list(left) == list(right)
    for name, tensor in left.items():
        if nn.parameter.is_lazy(tensor):
            continue
        assert (tensor.shape, tensor.dtype, tensor.requires_grad) == (
            right[name].shape,
            right[name].dtype,
            right[name].requires_grad,
        ), name
        if tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
            assert torch.equal(tensor, right[name]), name
    assert _ties(left) == _ties(right)
    assert confnet.init_report(real) == confnet.init_report(once)


def test_values_are_those_that_the_file_says() -> None:
    state = build("state", seed=3)
    assert torch.equal(state.t, 2 * state.w + state.n)
    assert torch.equal(state.z, torch.zeros(2))
    assert int(state.c) == 3
    tied = build("tie before", seed=3)
    assert tied.b.weight is tied.a.weight
    assert tied.a.weight.std() > 0.6, "drawn as the embedding that it is, not as the projection"
    copies = build("copies", seed=3)
    assert torch.equal(copies.layers[0].linear1.weight, copies.layers[2].linear1.weight)
    outer = build("transformer", seed=3).encoder.layers
    assert not torch.equal(outer[0].linear1.weight, outer[1].linear1.weight), "drawn anew by the Transformer"
    assert (build("registered function", seed=3).a.weight == 2).all()
    assert build("dtype", seed=3).a.weight.dtype == torch.bfloat16
    loss = build("weights of a loss", seed=3)
    assert loss.l.weight.tolist() == [1.0, 2.0]
    orthogonal = build("parametrized", seed=3)[1].weight
    torch.testing.assert_close(orthogonal @ orthogonal.T, torch.eye(4), atol=1e-5, rtol=0)


def test_each_parameter_is_filled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    filled: list[torch.Size] = []
    inside: list[bool] = []
    for name in ("normal_", "uniform_", "fill_", "zero_"):
        original = getattr(torch.Tensor, name)

        def watched(tensor: torch.Tensor, *args: Any, _call: Any = original, **kwargs: Any) -> torch.Tensor:
            if not tensor.is_meta and not inside:
                filled.append(tensor.shape)
            inside.append(True)
            result: torch.Tensor = _call(tensor, *args, **kwargs)
            inside.pop()
            return result

        monkeypatch.setattr(torch.Tensor, name, watched)
    text = (
        "children: {a: {Linear: [4, 5]}, b: {Embedding: [6, 5]}}\nforward: return a(x)\n"
        "apply: [{init: {weight: normal_}, where: {type: [Linear, Embedding]}},"
        " {init: {weight: {normal_: {std: 2}}, bias: zeros_}, where: {type: Linear}}]"
    )
    build(text, seed=1)
    assert sorted(filled) == [(5,), (5, 4), (6, 5)]


def test_a_registered_initialiser_runs_once_and_not_on_meta() -> None:
    CALLED.clear()
    build("registered function", seed=3)
    assert CALLED == ["cpu"]


def test_the_file_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model on meta was built from is known as long as the model is there and nothing more is registered."""
    checks: list[object] = []
    plan = Blueprint.plan

    def counted(blueprint: Blueprint) -> object:
        checks.append(blueprint)
        return plan(blueprint)

    monkeypatch.setattr(Blueprint, "plan", counted)
    auto = "inputs: {x: [B, 3]}\nSequential: [{Linear: [auto, 4]}]"
    for text in (CASES["layers"], auto):
        assert_same(build(text, seed=3), confnet.materialize(build(text, device="meta"), "cpu", seed=3))
    assert not checks
    model = build(auto, device="meta")
    confnet.initializer(name="materialized_later_")(lambda tensor: tensor.fill_(1))
    assert_same(build(auto, seed=3), confnet.materialize(model, "cpu", seed=3))
    assert len(checks) == 1


def test_layers_of_one_kind_have_nothing_in_common() -> None:
    """A kind of layer is constructed once in a process; what is done to one of them is not seen in the next."""
    text = "Sequential: [{Conv2d: [3, 4, 3]}, {BatchNorm2d: 4}, {LSTM: [4, 3]}]"
    first = build(text, device="meta")
    first[0].stride, first[0].note = (9, 9), "changed"
    first[1].register_buffer("more", torch.zeros(2))
    first[1].eval()
    first[2].requires_grad_(False)
    first[2]._flat_weights_names.clear()
    first[0].register_forward_hook(lambda *_: None)
    second, by_hand = build(text, seed=1), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LSTM(4, 3))
    assert second[0].stride == (1, 1)
    assert not hasattr(second[0], "note")
    assert not second[0]._forward_hooks
    assert list(second.state_dict()) == list(by_hand.state_dict())
    assert second[1].training
    assert all(parameter.requires_grad for parameter in second.parameters())
    second[2](torch.ones(1, 4))
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert build(text, device="meta")[0].weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(default)
    assert build(text, device="meta")[0].weight.dtype == default


def test_a_constructor_that_was_replaced_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    build("layers", device="meta")
    made: list[object] = []
    construct = nn.Linear.__init__

    def watched(layer: nn.Linear, *arguments: Any, **keywords: Any) -> None:
        made.append(layer)
        construct(layer, *arguments, **keywords)

    monkeypatch.setattr(nn.Linear, "__init__", watched)
    assert build("layers", device="meta")[0] in made


def test_what_was_changed_meanwhile_stays() -> None:
    model = build("Sequential: [{Linear: [4, 4]}, {Linear: [4, 4]}, {Linear: [4, 2]}]", device="meta")
    model[0].weight.requires_grad_(False)
    model[1].weight = model[0].weight
    model[2].double()
    real = nn.Parameter(torch.full((4,), 7.0))
    model[1].bias = real
    confnet.materialize(model, seed=1)
    fresh = build("Sequential: [{Linear: [4, 4]}, {Linear: [4, 4]}, {Linear: [4, 2]}]", seed=1)
    assert model[1].weight is model[0].weight
    assert not model[0].weight.requires_grad
    assert torch.equal(model[0].weight, fresh[0].weight)
    assert model[1].bias is real
    assert torch.equal(model[2].weight, fresh[2].weight.double())


def test_an_undone_tie_is_two_tensors() -> None:
    model = build("tie", device="meta")
    model.b.weight = nn.Parameter(torch.empty(6, 4, device="meta"))
    confnet.materialize(model, seed=1)
    assert torch.equal(model.a.weight, model.b.weight)
    assert model.a.weight.data_ptr() != model.b.weight.data_ptr()


def test_hooks_work_afterwards() -> None:
    text = (
        "children: {a: {Linear: [4, 4]}}\nforward: return a(x)\n"
        "hooks: [{kind: tensor, where: {name: a}, tensor: weight, call: {scale_grad: {factor: 0}}}]"
    )
    model = build(text, device="meta")
    confnet.materialize(model, seed=1)
    model(torch.ones(2, 4)).sum().backward()
    assert not model.a.weight.grad.any()
    assert model.a.bias.grad.any()


def test_with_weights() -> None:
    state = {name: tensor for name, tensor in build("layers", seed=9).state_dict().items() if "2" not in name}
    model = build("layers", device="meta")
    confnet.materialize(model, seed=1, weights=state, strict=False)
    assert torch.equal(model[0].weight, state["0.weight"])
    assert torch.equal(model[2].weight, build("layers", seed=1)[2].weight)
    assert confnet.load_report(model).missing == ("2.weight",)
    with pytest.raises(confnet.ConfnetError):
        confnet.materialize(build("layers", device="meta"), weights=state)


def test_what_cannot_be_materialized() -> None:
    model = build("Sequential: [{Linear: [4, 4]}]", device="meta")
    with pytest.raises(TypeError, match="`Linear` is not the root"):
        confnet.materialize(model[0])
    model.append(nn.Linear(4, 4, device="meta"))
    with pytest.raises(ValueError, match=r"`1.weight` is no tensor of the file"):
        confnet.materialize(model)
    assert model[0].weight.is_meta, "nothing was changed"


def test_errors_of_initialisers_are_those_of_the_file() -> None:
    texts = [
        "Sequential: [{Linear: [4, 4], init: {bias: kaiming_normal_}}]",
        "Sequential: [{Linear: [4, 4], init: {weight: {normal_: {std: -1}}}}]",
        "Sequential: [{Linear: [4, 4], init: {weight: {value: 'torch.ones(3, 5)'}}}]",
    ]
    for text in texts:
        messages = []
        for options in ({"seeding": "torch"}, {"seed": 1}):
            with pytest.raises(confnet.ConfnetError) as caught:
                build(text, **options)
            messages.append([(d.code, d.span) for d in caught.value.diagnostics])
        assert messages[0] == messages[1]


def test_ten_thousand_layers() -> None:
    model = build("Sequential: [{repeat: 10000, module: {Linear: [2, 2]}}]", device="meta")
    assert len(model) == 10_000
    assert model[9_999].weight is not model[0].weight
    model[0].register_forward_pre_hook(lambda module, args: None)
    assert not model[1]._forward_pre_hooks
    model[0].weight.requires_grad_(False)
    assert model[1].weight.requires_grad


def test_the_weights_of_a_model_go_with_it() -> None:
    """The first layer of a kind is what later ones are copies of, and yet nothing of it is kept."""
    model = build("Sequential: [{Linear: [37, 41]}, {BatchNorm1d: 41}]", seed=1)
    model[0].register_forward_hook(hook := lambda module, args, output: None)
    kept = [weakref.ref(each) for each in (model[0].weight, model[1].running_mean, hook)]
    del model, hook
    gc.collect()
    assert [each() for each in kept] == [None] * 3


@pytest.mark.soak
@pytest.mark.parametrize(("layers", "width", "inner", "heads"), [(80, 8192, 28672, 64), (126, 16384, 53248, 128)])
def test_seventy_and_four_hundred_billion_parameters(layers: int, width: int, inner: int, heads: int) -> None:
    """Checked with shapes and built on meta in seconds, in a process of less than a gigabyte."""
    args = {
        "vocab_size": 128256,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
    }
    code = (
        "import resource, time, confnet\n"
        "begin = time.perf_counter()\n"
        f"spec, args = confnet.load({str(LLAMA)!r}), {args!r}\n"
        "assert confnet.validate(spec, variant='llama-3-8b', args=args).ok\n"
        "model = confnet.build(spec, variant='llama-3-8b', args=args, device='meta')\n"
        "assert sum(parameter.numel() for parameter in model.parameters()) > 65e9\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1_000_000\n"
        "assert time.perf_counter() - begin < 10\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
