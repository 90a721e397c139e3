"""What code of a file must never be able to do, each way tried on its own, with the reason it is refused for."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from confnet.catalog.functions import DTYPES, TENSOR_ATTRIBUTES, result_fields, tensor_method
from confnet.language.forward import check_code, parse_code
from confnet.language.grammar import ALLOWED, LanguageError, parse
from tests.language_scope import MEMBERS, SCOPE, Small, check, code, errors, function

STATE, CONSTANT = "changes-module-state", "changes-constant"

# --- names that reach out ---------------------------------------------------------------------------------------

REACHING: list[tuple[str, str]] = [
    ("return torch.load(x)", "unknown-function"),
    ("return torch.save(x, 'f')", "unknown-function"),
    ("return torch.hub", "unknown-attribute"),
    ("return torch.hub.load('a', 'b')", "unknown-function"),
    ("return F.importlib", "unknown-attribute"),
    ("return F.importlib.import_module('os')", "unknown-function"),
    ("return torch.nn.functional.importlib", "unknown-attribute"),
    ("return torch.nn.parallel.distributed.os", "unknown-attribute"),
    ("return torch.os.system('true')", "unknown-function"),
    ("return torch.sys.modules", "unknown-attribute"),
    ("return torch.ops", "unknown-attribute"),
    ("return torch.ops.aten.add(x, x)", "unknown-function"),
    ("return torch.compile(x)", "unknown-function"),
    ("return torch.jit.script(x)", "unknown-function"),
    ("return torch.vmap(x)", "unknown-function"),
    ("return torch.cond(x, x, x, x)", "unknown-function"),
    ("return torch.from_file('f')", "unknown-function"),
    ("return torch.frombuffer(x)", "unknown-function"),
    ("return torch.from_numpy(x)", "unknown-function"),
    ("return torch.manual_seed(0)", "unknown-function"),
    ("return torch.seed()", "unknown-function"),
    ("return torch.set_default_dtype(torch.float16)", "unknown-function"),
    ("return torch.set_num_threads(1)", "unknown-function"),
    ("return torch.set_grad_enabled(False)", "unknown-function"),
    ("return torch.use_deterministic_algorithms(True)", "unknown-function"),
    ("return torch.utils.cpp_extension.load('a')", "unknown-function"),
    ("return torch.utils.data.DataLoader(x)", "unknown-function"),
    ("return torch.nn.init.zeros_(weight)", "unknown-function"),
    ("return nn.init.zeros_(weight)", "unknown-function"),
    ("return nn.Linear(4, 4)", "unknown-function"),
    ("return torch.nn.Parameter(x)", "unknown-function"),
    ("return torch.autograd.grad(x, x)", "unknown-function"),
    ("return torch.func.functional_call(x, x)", "unknown-function"),
    ("return torch.cuda.empty_cache()", "unknown-function"),
    ("return torch.distributed.init_process_group()", "unknown-function"),
    ("return torch.multiprocessing.spawn(x)", "unknown-function"),
    ("return torch.empty(4)", "unknown-function"),
    ("return torch.device", "unknown-attribute"),
    ("return torch._C", "unknown-attribute"),
    ("return torch.Tensor", "unknown-attribute"),
    ("return torch.Tensor.add_(weight, 1)", "unknown-function"),
    ("return torch.relu_", "unknown-attribute"),
    ("return math.os", "unknown-attribute"),
    ("return math.factorial(10)", "unknown-function"),
    ("return torch", "namespace-as-value"),
    ("t = torch\nreturn t.load(x)", "namespace-as-value"),
    ("return [F]", "namespace-as-value"),
    ("return (torch if x is None else F).load(x)", "namespace-as-value"),
    ("return F.relu", "function-as-value"),
    ("f = torch.relu\nreturn f(x)", "function-as-value"),
    ("return twice", "function-as-value"),
    ("return [len]", "function-as-value"),
    ("return encode", "function-as-value"),
    ("return self.encode", "function-as-value"),
    ("torch = x\nreturn x", "shadowed-namespace"),
    ("F = x\nreturn x", "shadowed-namespace"),
    ("math, y = x, x\nreturn x", "shadowed-namespace"),
    ("self = x\nreturn x", "shadowed-namespace"),
    ("torch += x\nreturn x", "shadowed-namespace"),
    ("for torch in x:\n    pass\nreturn x", "shadowed-namespace"),
    ("return [torch for torch in x]", "shadowed-namespace"),
    ("return [torch.load(y) for torch, y in x]", "shadowed-namespace"),
    ("return {'a': torch for torch in x}", "shadowed-namespace"),
    ("return getattr(x, 'numpy')", "undefined-name"),
    ("return setattr(self, 'a', x)", "undefined-name"),
    ("return eval('1')", "undefined-name"),
    ("return exec('1')", "undefined-name"),
    ("return open('f')", "undefined-name"),
    ("return print(x)", "undefined-name"),
    ("return vars(x)", "undefined-name"),
    ("return globals()", "undefined-name"),
    ("return isinstance(x, x)", "undefined-name"),
    ("return map(x, x)", "undefined-name"),
    ("return sorted(x)", "undefined-name"),
    ("return str(x)", "undefined-name"),
    ("return super()", "undefined-name"),
    ("return object", "undefined-name"),
    ("return breakpoint()", "undefined-name"),
    ("return __import__('os')", "not-allowed-in-code"),
    ("return __builtins__", "not-allowed-in-code"),
    ("return x.__class__", "not-allowed-in-code"),
    ("return ().__class__", "not-allowed-in-code"),
    ("return x.__\uff43lass__", "not-allowed-in-code"),
    ("return self.__dict__", "not-allowed-in-code"),
    ("return x.relu.__globals__", "not-allowed-in-code"),
    ("return twice(__a=x)", "not-allowed-in-code"),
]

# --- what a value may be asked for --------------------------------------------------------------------------------

ASKING: list[tuple[str, str]] = [
    ("return x.numpy()", "unknown-method"),
    ("return x.numpy", "unknown-attribute"),
    ("return x.register_hook(x)", "unknown-method"),
    ("return x.register_hook", "unknown-attribute"),
    ("return x.apply_(x)", "unknown-method"),
    ("return x.map_(x, x)", "unknown-method"),
    ("return x.set_(x)", "unknown-method"),
    ("return x.resize_(5)", "unknown-method"),
    ("return x.data", "unknown-attribute"),
    ("return x.grad", "unknown-attribute"),
    ("return x.grad_fn", "unknown-attribute"),
    ("return x._base", "unknown-attribute"),
    ("return x._backward_hooks", "unknown-attribute"),
    ("return x.item()", "unknown-method"),
    ("return x.tolist()", "unknown-method"),
    ("return x.backward()", "unknown-method"),
    ("return x.untyped_storage()", "unknown-method"),
    ("return x.storage()", "unknown-method"),
    ("return x.data_ptr()", "unknown-method"),
    ("return x.new(5)", "unknown-method"),
    ("return x.as_subclass(x)", "unknown-method"),
    ("return x.share_memory_()", "unknown-method"),
    ("return x.requires_grad_()", "unknown-method"),
    ("return x.format(x)", "unknown-method"),
    ("return 'a'.format(x)", "unknown-method"),
    ("return 'a'.join(x)", "unknown-method"),
    ("return name.upper()", "unknown-method"),
    ("return (1).bit_length()", "unknown-method"),
    ("return (x, x).count(x)", "unknown-method"),
    ("l = [x]\nl.sort()\nreturn l", "unknown-method"),
    ("l = [x]\nreturn l.append", "unknown-attribute"),
    ("return '%d' % 1", "not-allowed-in-code"),
    ("return '%999999999d' % 1", "not-allowed-in-code"),
    ("f = '%9d'\nreturn f % 1", "not-allowed-in-code"),
    ("return ['%9d'][0] % 1", "not-allowed-in-code"),
    ("l = []\nl.append('%9d')\nreturn l[0] % 1", "not-allowed-in-code"),
    ("return '\\x259d' % 1", "not-allowed-in-code"),
    ("return name % 1", "invalid-operand"),
    ("return name * 1000000000", "invalid-operand"),
    ("return torch.add(x, x, out=x)", "out-argument"),
    ("return torch.add(x, x, out=weight)", "out-argument"),
    ("return torch.nn.functional.relu(x, out=x)", "out-argument"),
    ("return twice(x, out=x)", "out-argument"),
    ("return twice(**x)", "not-allowed-in-code"),
    ("return lin(**{'input': x})", "not-allowed-in-code"),
    ("return {**x}", "not-allowed-in-code"),
    ("return {1: x}", "not-allowed-in-code"),
    ("return x()", "not-callable"),
    ("return x.relu()()", "not-callable"),
    ("return x[0](x)", "not-callable"),
    ("return (x or mask)(x)", "not-callable"),
    ("return twice(x)(x)", "not-callable"),
    ("return depth(x)", "not-callable"),
    ("return torch.finfo(x.dtype)", "not-allowed-in-code"),
    ("return torch.finfo(x.dtype).smallest", "unknown-attribute"),
    ("return torch.no_grad()", "not-allowed-in-code"),
    ("with torch.autocast('cpu'):\n    return x", "not-allowed-in-code"),
    ("with torch.no_grad() as g:\n    return g", "not-allowed-in-code"),
    ("with x:\n    return x", "not-allowed-in-code"),
    ("with torch.profiler.profile():\n    return x", "not-allowed-in-code"),
    ("g = (y for y in x)\nreturn g", "not-allowed-in-code"),
    ("assert x, x.numpy()\nreturn x", "invalid-assert"),
    ("return encode(x)(x)", "not-callable"),
]

# --- constants that take all time or memory ------------------------------------------------------------------------

CONSTANTS: list[tuple[str, str]] = [
    ("return 9 ** 9 ** 9", "expression-error"),
    ("return 2.0 ** 5000", "expression-error"),
    ("return 1 << 10 ** 9", "expression-error"),
    ("return [0] * 10 ** 12", "expression-error"),
    ("return 10 ** 12 * [x]", "expression-error"),
    ("return (0,) * 10 ** 12", "expression-error"),
    ("return (x,) * 10 ** 12", "expression-error"),
    ("return range(10 ** 18)", "expression-error"),
    ("return [i for i in range(0, 10 ** 9)]", "expression-error"),
    ("for i in range(-(10 ** 9), 1):\n    x = x + i\nreturn x", "expression-error"),
    ("return 'a' * 10 ** 10", "invalid-operand"),
    ("t = 'a'\nreturn t * 10 ** 10", "invalid-operand"),
    ("return 2 * ('a' + 'b')", "invalid-operand"),
]

# --- modules --------------------------------------------------------------------------------------------------------

MODULES: list[tuple[str, str]] = [
    ("return lin.half()(x)", "module-method"),
    ("return lin.to(torch.float16)(x)", "module-method"),
    ("return lin.eval()(x)", "module-method"),
    ("return lin.train(False)(x)", "module-method"),
    ("return lin.requires_grad_(False)(x)", "module-method"),
    ("return lin.zero_grad()", "module-method"),
    ("return lin.apply(x)", "module-method"),
    ("return lin.state_dict()", "module-method"),
    ("return lin.load_state_dict(x)", "module-method"),
    ("return lin.forward(x)", "module-method"),
    ("return lin.register_forward_hook(x)", "module-method"),
    ("return list(lin.parameters())", "module-method"),
    ("layers.append(x)\nreturn x", "module-method"),
    ("return layers.append(lin)", "module-method"),
    ("return layers.pop(0)(x)", "module-method"),
    ("return heads.pop('cat')(x)", "module-method"),
    ("heads.clear()\nreturn x", "module-method"),
    ("return self.register_buffer('a', x)", "module-method"),
    ("return self.add_module('a', x)", "module-method"),
    ("return self.parameters()", "module-method"),
    ("return self.named_modules()", "module-method"),
    ("return self.train(False)", "module-method"),
    ("return self._modules", "missing-member"),
    ("return self._parameters['weight']", "missing-member"),
    ("return lin._parameters", "missing-member"),
    ("return self.forward(x)", "not-callable"),
    ("return forward(x)", "not-callable"),
    ("return self(x)", "not-callable"),
    ("return self", "namespace-as-value"),
    ("return twice(self)", "namespace-as-value"),
    ("return lin", "module-as-value"),
    ("return twice(lin)", "module-as-value"),
    ("return [lin]", "module-as-value"),
    ("return (lin, x)", "module-as-value"),
    ("return {'a': lin}", "module-as-value"),
    ("return [layer for layer in layers]", "module-as-value"),
    ("return list(layers)", "module-as-value"),
    ("return tuple(heads.values())", "module-as-value"),
    ("l = []\nl.append(lin)\nreturn l", "module-as-value"),
    ("l = []\nfor m in layers:\n    l.append(m)\nreturn l", "module-as-value"),
    ("z = zip(layers, layers)\nreturn x", "module-as-value"),
    ("a, b = lin, lin\nreturn x", "module-as-value"),
    ("m = lin\nreturn m", "module-as-value"),
    ("m = lin if x is None else identity\nreturn twice(m)", "module-as-value"),
    ("return self.children()", "module-as-value"),
    ("return lin + x", "module-as-value"),
    ("return lin == identity", "module-as-value"),
    ("return lin is identity", "module-as-value"),
    ("return x if lin else mask", "module-as-value"),
    ("return lin or x", "module-as-value"),
    ("return min(layers)", "module-as-value"),
    ("return encode(lin)", "module-as-value"),
    ("return torch.stack(layers)", "module-as-value"),
    ("return x[lin]", "module-as-value"),
    ("return lin[0]", "not-indexable"),
    ("return layers(x)", "not-callable"),
    ("return layers[:1](x)", "not-callable"),
    ("return layers[2](x)", "missing-member"),
    ("return heads['cow'](x)", "missing-member"),
    ("return down(x)", "call-of-none"),
    ("self.y = x\nreturn x", "attribute-assignment"),
    ("self.lin = lin\nreturn x", "attribute-assignment"),
    ("lin.weight = x\nreturn x", "attribute-assignment"),
    ("self.steps += 1\nreturn x", "attribute-assignment"),
    ("x.requires_grad = False\nreturn x", "attribute-assignment"),
    ("self.y, z = x, x\nreturn x", "attribute-assignment"),
    ("for self.y in x:\n    pass\nreturn x", "attribute-assignment"),
    ("layers[0] = x\nreturn x", "not-a-local"),
    ("heads['cat'] = x\nreturn x", "not-a-local"),
    ("m = layers\nm[0] = x\nreturn x", "module-as-value"),
]

# --- state that must not change, and every way round -----------------------------------------------------------------

# The parameter moves one local further in each round.
CHAIN = (
    "".join(f"a{i} = x\n" for i in range(20)) + "for i in range(50):\n    a0.zero_()\n"
    + "".join(f"    a{i} = a{i + 1}\n" for i in range(19)) + "    a19 = weight\nreturn x"
)  # fmt: skip

ALIASES: list[tuple[str, str]] = [
    ("weight.zero_()\nreturn x", STATE),
    ("self.weight.zero_()\nreturn x", STATE),
    ("return weight.add_(1)", STATE),
    ("w = weight\nw.zero_()\nreturn x", STATE),
    ("w = weight\nw += 1\nreturn x", STATE),
    ("w = weight\nw[0] = 1\nreturn x", STATE),
    ("w = weight\nw[0] += 1\nreturn x", STATE),
    ("w = weight\nw[0][0] = 1\nreturn x", STATE),
    ("w = weight\nw @= x\nreturn x", STATE),
    ("weight.detach().zero_()\nreturn x", STATE),
    ("weight.view(-1).zero_()\nreturn x", STATE),
    ("weight.view(-1)[:2].zero_()\nreturn x", STATE),
    ("weight.reshape(-1).zero_()\nreturn x", STATE),
    ("weight.t().zero_()\nreturn x", STATE),
    ("weight.T.zero_()\nreturn x", STATE),
    ("weight.mT.zero_()\nreturn x", STATE),
    ("weight.real.zero_()\nreturn x", STATE),
    ("weight.transpose(0, 1).zero_()\nreturn x", STATE),
    ("weight.permute(1, 0).zero_()\nreturn x", STATE),
    ("weight.expand(4, 4).zero_()\nreturn x", STATE),
    ("weight.contiguous().zero_()\nreturn x", STATE),
    ("weight.float().zero_()\nreturn x", STATE),
    ("weight.to(x.dtype).zero_()\nreturn x", STATE),
    ("weight.type_as(x).zero_()\nreturn x", STATE),
    ("weight.unsqueeze(0).zero_()\nreturn x", STATE),
    ("weight.flatten().zero_()\nreturn x", STATE),
    ("weight.diagonal().zero_()\nreturn x", STATE),
    ("weight.narrow(0, 0, 1).zero_()\nreturn x", STATE),
    ("weight.select(0, 0).zero_()\nreturn x", STATE),
    ("weight.unbind()[0].zero_()\nreturn x", STATE),
    ("weight.split(1)[0].zero_()\nreturn x", STATE),
    ("weight.chunk(2)[0].zero_()\nreturn x", STATE),
    ("a, b = weight.chunk(2)\nb.zero_()\nreturn x", STATE),
    ("torch.split(weight, 1)[0].zero_()\nreturn x", STATE),
    ("torch.reshape(weight, (-1,)).zero_()\nreturn x", STATE),
    ("torch.einsum('ij->ji', weight).zero_()\nreturn x", STATE),
    ("torch.broadcast_tensors(x, weight)[1].zero_()\nreturn x", STATE),
    ("torch.positive(weight).zero_()\nreturn x", STATE),
    ("(+weight).zero_()\nreturn x", STATE),
    ("F.dropout(weight, 0.5, False).zero_()\nreturn x", STATE),
    ("return F.dropout(weight, 0.5, True, True)", STATE),
    ("return F.relu(weight, True)", STATE),
    ("return F.relu(weight, inplace=True)", STATE),
    ("return F.relu(inplace=True, input=weight)", STATE),
    ("return F.relu(weight, inplace=x is not None)", STATE),
    ("return F.relu(*(weight, True))", STATE),
    ("return F.hardtanh(weight, 0.0, 1.0, True)", STATE),
    ("return F.relu_(weight)", STATE),
    ("return F.batch_norm(x, weight, weight, training=True)", STATE),
    ("return F.batch_norm(x, weight[0], weight[0], None, None, True)", STATE),
    ("return F.instance_norm(x, weight[0], weight[0])", STATE),
    ("return F.embedding(x, weight, max_norm=1.0)", "unknown-argument"),
    ("weight[0].zero_()\nreturn x", STATE),
    ("weight[..., 0].zero_()\nreturn x", STATE),
    ("for row in weight:\n    row.zero_()\nreturn x", STATE),
    ("for i, row in enumerate(weight):\n    row.zero_()\nreturn x", STATE),
    ("for a, b in zip(x, weight):\n    b.zero_()\nreturn x", STATE),
    ("for row in reversed([weight]):\n    row.zero_()\nreturn x", STATE),
    ("return [row.zero_() for row in weight]", STATE),
    ("return [a.zero_() for a, b in [(weight, x)]]", STATE),
    ("a, b = x, weight\nb.zero_()\nreturn x", STATE),
    ("a, b = (x, weight) if mask is None else (x, x)\nb.zero_()\nreturn x", STATE),
    ("(x, weight)[1].zero_()\nreturn x", STATE),
    ("[weight][0].zero_()\nreturn x", STATE),
    ("[*[weight]][0].zero_()\nreturn x", STATE),
    ("([weight] + [x])[0].zero_()\nreturn x", STATE),
    ("([weight] * 2)[0].zero_()\nreturn x", STATE),
    ("{'a': weight}['a'].zero_()\nreturn x", STATE),
    ("for v in {'a': weight}.values():\n    v.zero_()\nreturn x", STATE),
    ("for k, v in {'a': weight}.items():\n    v.zero_()\nreturn x", STATE),
    ("list((weight,))[0].zero_()\nreturn x", STATE),
    ("tuple([weight])[0].zero_()\nreturn x", STATE),
    ("sum([], weight).zero_()\nreturn x", STATE),
    ("max([weight]).zero_()\nreturn x", STATE),
    ("l = []\nl.append(weight)\nl[0].zero_()\nreturn x", STATE),
    ("l = []\nl.append(weight)\nl.pop().zero_()\nreturn x", STATE),
    ("l = []\nl.extend([weight])\nl[0].zero_()\nreturn x", STATE),
    ("l = []\nm = l\nm.append(weight)\nl[0].zero_()\nreturn x", STATE),
    ("l = [[]]\nm = l[0]\nl[0] = [weight]\nl[0][0].zero_()\nreturn x", STATE),
    ("l = [x]\nl[0] = weight\nl[0].zero_()\nreturn x", STATE),
    ("d = {}\nd['a'] = weight\nd['a'].zero_()\nreturn x", STATE),
    ("l = []\nl += [weight]\nl[0].zero_()\nreturn x", STATE),
    ("l = []\nt = (l, x)\nl.append(weight)\nt[0][0].zero_()\nreturn x", STATE),
    ("y = weight if mask is None else x\ny.zero_()\nreturn x", STATE),
    ("y = x\nif mask is None:\n    y = weight\ny.zero_()\nreturn x", STATE),
    ("y = mask or weight\ny.zero_()\nreturn x", STATE),
    ("y = x\nfor i in range(3):\n    y.zero_()\n    y = weight\nreturn x", STATE),
    ("a = x\nb = x\nfor i in range(4):\n    a.zero_()\n    a = b\n    b = weight\nreturn x", STATE),
    ("y = x\nfor i in range(3):\n    if i == 1:\n        y = weight\n        continue\n    y.zero_()\nreturn x", STATE),
    ("y = x\nfor i in range(3):\n    y = weight\n    break\ny.zero_()\nreturn x", STATE),
    ("identity(weight).zero_()\nreturn x", STATE),
    ("return act(weight)", STATE),
    ("return act(lin.weight.view(-1))", STATE),
    ("twice(weight).zero_()\nreturn x", STATE),
    ("encode(weight).zero_()\nreturn x", STATE),
    ("block.encode(weight).zero_()\nreturn x", STATE),
    ("torch.utils.checkpoint.checkpoint(identity, weight, use_reentrant=False).zero_()\nreturn x", STATE),
    ("lin.weight.zero_()\nreturn x", STATE),
    ("block.scale.zero_()\nreturn x", STATE),
    ("block.proj.weight.zero_()\nreturn x", STATE),
    ("layers[0].weight.zero_()\nreturn x", STATE),
    ("for m in layers:\n    m.weight.zero_()\nreturn x", STATE),
    ("for k, m in heads.items():\n    w = m.weight\n    w += 1\nreturn x", STATE),
    ("m = layers[depth - 1]\nm.weight.zero_()\nreturn x", STATE),
    ("with torch.no_grad():\n    weight.zero_()\nreturn x", STATE),
    ("if use:\n    weight.zero_()\nreturn x", STATE),
    ("return x\nweight.zero_()", STATE),
    ("assert weight.zero_() is not None, 'a'\nreturn x", STATE),
    ("weight[0] = 1\nreturn x", "not-a-local"),
    ("steps[0] = 1\nreturn x", "not-a-local"),
    ("weight += 1\nreturn x", "possibly-undefined"),
    ("sizes.append(1)\nreturn x", "not-a-local-list"),
    ("s = sizes\ns.append(1)\nreturn x", "not-a-local-list"),
    ("s = [] if mask is None else sizes\ns.append(1)\nreturn x", "not-a-local-list"),
    ("return sizes.pop()", "not-a-local-list"),
    ("s = sizes\ns[0] = 1\nreturn x", CONSTANT),
    ("s = sizes\ns += [1]\nreturn x", CONSTANT),
    ("s = table['a']\ns += [1]\nreturn x", CONSTANT),
    ("t = table\nt['b'] = 1\nreturn x", CONSTANT),
    ("s = pair[0]\ns[0] = 2\nreturn x", CONSTANT),
    ("for s in pair:\n    s *= 2\nreturn x", CONSTANT),
    ("s = (sizes, x)\ns[0][0] = 5\nreturn x", CONSTANT),
    ("x.append(1)\nreturn x", "unknown-method"),
    ("l = [x]\nreturn [l.append(q) for q in l]", "not-allowed-in-code"),
    ("l = [x]\nreturn [q for q in l if l.append(q) is None]", "not-allowed-in-code"),
    ("l = [x]\nl.append(l.append(x))\nreturn l", "not-allowed-in-code"),
    ("l = [x]\nm = [y for q in l for y in [l.extend([q])]]\nreturn m", "not-allowed-in-code"),
    (CHAIN, STATE),
]

# --- lists that never end ---------------------------------------------------------------------------------------------

GROWING = [
    "for q in l:\n    l.append(q)",
    "for q in l:\n    l += [q]",
    "for q in l:\n    l.extend([q])",
    "for q in l:\n    l[len(l):] = [q]",
    "m = l\nfor q in l:\n    m.append(q)",
    "m = l\nfor q in m:\n    l.append(q)",
    "m = l if x is None else [x]\nfor q in m:\n    l.append(q)",
    "for i, q in enumerate(l):\n    l.append(q)",
    "for q, r in zip(l, l):\n    l.append(q)",
    "for q in reversed(l):\n    l.append(q)",
    "t = (l, x)\nfor q in t[0]:\n    l.append(q)",
    "d = {'a': l}\nfor q in d['a']:\n    l.append(q)",
    "m = []\nm.append(l)\nfor q in m[0]:\n    l.append(q)",
    "m = []\nm.append(l)\nfor q in m.pop():\n    l.append(q)",
    "for m in [l]:\n    for q in m:\n        l.append(q)",
    "for q in l:\n    for r in range(2):\n        l.append(q)",
    "for q in l:\n    if x is None:\n        l.append(q)",
    "for q in twice(l):\n    l.append(q)",
    "m = [x]\nfor i in range(3):\n    for q in m:\n        l.append(q)\n    m = l",
    "a, b = l, l\nfor q in a:\n    b.append(q)",
]  # fmt: skip


def _named(cases: list[tuple[str, str]]) -> list[object]:
    return [pytest.param(body, expected, id=body.replace("\n", "; ")) for body, expected in cases]


@pytest.mark.parametrize(("body", "expected"), _named(REACHING + ASKING + CONSTANTS + MODULES + ALIASES))
def test_code_is_refused_for_the_right_reason(body: str, expected: str) -> None:
    assert expected in errors(body)


@pytest.mark.parametrize("body", GROWING, ids=lambda body: body.replace("\n", "; "))
def test_a_list_does_not_grow_inside_a_loop_over_it(body: str) -> None:
    assert errors(f"l = [x]\n{body}\nreturn x") == ["list-grows-in-loop"]


# The same shapes without the harm: the refusals above come from what they reach, not from how they are written.
HARMLESS = [
    "weight.clone().zero_()\nreturn x",
    "y = weight + 1\ny += 1\nreturn y",
    "y = F.linear(x, weight)\ny += 1\nreturn y",
    "x.zero_()\nreturn x",
    "x += 1\nreturn x",
    "x[:, 0] = 0\nreturn x",
    "y = x.view(-1)\ny[0] = 1\nreturn y",
    "steps.add_(1)\nreturn x",
    "self.steps.copy_(x)\nreturn x",
    "steps.view(-1)[0].zero_()\nreturn x",
    "return F.relu(x, True)",
    "return F.relu(weight, False)",
    "return F.relu(weight, inplace=False)",
    "return act(x)",
    "return F.batch_norm(x, steps[0], steps[0], training=True)",
    "return F.batch_norm(x, weight[0], weight[0])",
    "l = [x]\nfor q in l[:]:\n    l.append(q)\nreturn l",
    "l = [x]\nfor q in list(l):\n    l.append(q)\nreturn l",
    "l = [x]\nm = [x]\nfor q in m:\n    l.append(q)\nreturn l",
    "l = []\nfor layer in layers:\n    l.append(layer(x))\nreturn l",
    "l = [1, 2]\nl[0] = 5\nl.extend(sizes)\nreturn l",
    "s = list(sizes)\ns.append(1)\nreturn s",
    "a, b = x, weight\na.zero_()\nreturn b",
    "last = None\nfor layer in layers:\n    if last is not None:\n        x = last(x)\n    last = layer\nreturn x",
]


@pytest.mark.parametrize("body", HARMLESS, ids=lambda body: body.replace("\n", "; "))
def test_harmless_code_is_accepted(body: str) -> None:
    assert errors(body) == []


# --- the grammar ------------------------------------------------------------------------------------------------------

SAMPLES: dict[str, str] = {
    "AnnAssign": "x: int = 1", "AsyncFor": "async def f():\n    async for a in b: pass",
    "Await": "async def f(): await x",
    "AsyncFunctionDef": "async def f(): pass", "AsyncWith": "async def f():\n    async with a: pass",
    "ClassDef": "class A: pass", "Delete": "del x", "FunctionDef": "def f(): pass", "Global": "global x",
    "Import": "import os", "ImportFrom": "from os import path", "JoinedStr": "return f'{x}'",
    "FormattedValue": "return f'{x}'", "Lambda": "return lambda: 1", "Match": "match x:\n    case 1: pass",
    "MatchAs": "match x:\n    case a: pass", "MatchClass": "match x:\n    case A(): pass",
    "MatchMapping": "match x:\n    case {}: pass", "MatchOr": "match x:\n    case 1 | 2: pass",
    "MatchSequence": "match x:\n    case [1]: pass", "MatchSingleton": "match x:\n    case None: pass",
    "MatchStar": "match x:\n    case [*a]: pass", "MatchValue": "match x:\n    case 1: pass",
    "match_case": "match x:\n    case 1: pass", "NamedExpr": "return (y := x)", "Nonlocal": "def f():\n    nonlocal x",
    "Raise": "raise x", "Set": "return {x}", "SetComp": "return {y for y in x}", "Try": "try: pass\nexcept A: pass",
    "TryStar": "try: pass\nexcept* A: pass", "ExceptHandler": "try: pass\nexcept A: pass", "While": "while x: pass",
    "Yield": "yield x", "YieldFrom": "yield from x", "alias": "import os as o", "arg": "return lambda a: a",
    "arguments": "return lambda a: a", "Del": "del x", "TypeAlias": "type A = int", "TypeVar": "def f[T](): pass",
    "ParamSpec": "def f[**P](): pass", "TypeVarTuple": "def f[*T](): pass", "TemplateStr": "return t'{x}'",
    "Interpolation": "return t'{x}'",
}  # fmt: skip

# Classes that `ast.parse(text)` never makes: bases, modes of other callers, names kept from older Pythons.
NEVER_MADE = {
    "AST", "mod", "stmt", "expr", "expr_context", "boolop", "operator", "unaryop", "cmpop", "excepthandler", "pattern",
    "type_ignore", "type_param", "slice", "Interactive", "FunctionType", "TypeIgnore", "Suite", "Param", "AugLoad",
    "AugStore", "Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice",
}  # fmt: skip


def _node_classes() -> list[type[ast.AST]]:
    found = [value for name, value in vars(ast).items() if inspect.isclass(value) and not name.startswith("_")]
    return [value for value in found if issubclass(value, ast.AST) and value.__name__ not in NEVER_MADE]


@pytest.mark.parametrize("node", _node_classes(), ids=lambda node: node.__name__)
def test_every_node_is_allowed_or_refused(node: type[ast.AST]) -> None:
    if node in ALLOWED:
        return
    sample = SAMPLES[node.__name__]
    assert any(isinstance(part, node) for part in ast.walk(ast.parse(sample)))
    with pytest.raises(LanguageError) as caught:
        parse(sample, "block")
    assert caught.value.code == "not-allowed-in-code"


@pytest.mark.parametrize(
    ("body", "place"),
    [("return *x", (1, 7)), ("a, *b = x", (1, 3)), ("return ...", (1, 7)), ("return b'a'", (1, 7)),
     ("return 2j", (1, 7)),
     ("return 99999999999999999999", (1, 7)), ("return 1e999", (1, 7)), ("return [a async for a in x]", (1, 20))],
)  # fmt: skip
def test_odd_places_and_constants_are_refused(body: str, place: tuple[int, int]) -> None:
    with pytest.raises(LanguageError) as caught:
        parse(body, "block")
    assert caught.value.code in ("not-allowed-in-code", "invalid-syntax")
    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize(
    "text",
    ["-" * 90_000 + "1", "not " * 20_000 + "x", "(" * 50_000, "[" * 3_000 + "]" * 3_000, "x" + "[0]" * 9_999,
     "x if x else " * 5_000 + "x", "x**" * 20_000 + "x", "x+" * 40_000 + "x", "lambda:" * 9_000 + "1",
     "{" * 80 + "1" + "}" * 80, "f(" * 89 + ")" * 89, "'" * 99_999, '"""' * 30_001, "x." * 40_000 + "x",
     "\\\n" * 40_000,
     "1" * 5_000, "await " * 15_000 + "x", "\x00", "\ud800", "x\x0cy", "[y for y in " * 89 + "x" + "]" * 89],
)  # fmt: skip
def test_no_text_breaks_the_parser(text: str) -> None:
    parsed = parse_code(code(f"return {text}"))
    result = check_code(parsed, SCOPE)
    assert all(d.span is not None for d in result.diagnostics)
    assert result.diagnostics


def test_elif_chains_and_blocks_end_in_a_diagnostic() -> None:
    chain = "if x is None:\n    pass\n" + "elif x is None:\n    pass\n" * 3_000
    assert [d.code for d in parse_code(code(chain)).diagnostics] == ["code-too-deep"]
    nested = "".join("    " * i + "for i in x:\n" for i in range(97)) + "    " * 97 + "pass"
    assert {d.code for d in check(nested).diagnostics} <= {"code-too-deep", "code-too-complex", "missing-return"}


WORDS = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True)


@given(WORDS)
def test_random_attributes_are_refused(word: str) -> None:
    listed = word in TENSOR_ATTRIBUTES or word in result_fields()
    assert listed or errors(f"return x.{word}")
    assert tensor_method(word) or errors(f"return x.{word}()")
    assert errors(f"return lin.{word}()")
    assert word in DTYPES or errors(f"return torch.{word}")
    assert word in {*MEMBERS, *SCOPE.constants, "training"} or errors(f"return self.{word}")


@given(st.sampled_from(sorted(set(dir(torch.Tensor)) | set(dir(torch.nn.Module)) | set(dir(torch)))))
@settings(max_examples=400)
def test_attributes_that_torch_has_are_refused_unless_listed(word: str) -> None:
    assert word in TENSOR_ATTRIBUTES or word in result_fields() or errors(f"return x.{word}")
    assert word in LINEAR_READABLE or errors(f"return lin.{word}")
    assert word in DTYPES or errors(f"return torch.{word}")
    assert errors(f"return lin.{word}(x)")


LINEAR_READABLE = {"weight", "bias", "in_features", "training"}

# --- accepted bodies change nothing -----------------------------------------------------------------------------------

ATOMS = st.sampled_from(
    [
        "x",
        "a",
        "b",
        "weight",
        "self.weight",
        "steps",
        "lin.weight",
        "block.scale",
        "layers[0].weight",
        "heads[name].weight",
    ]
)
WRAPPERS = st.sampled_from(
    ["{}.view(4, 4)", "{}.detach()", "{}.t()", "{}.T", "{}.contiguous()", "{}.float()", "{}.clone()", "{}[:]", "(+{})",
     "torch.relu({})", "F.relu({}, True)", "F.relu({}, inplace=False)", "F.dropout({}, 0.5, False)", "identity({})",
     "act({})", "lin({})", "block({})", "encode({})", "block.encode({})", "torch.einsum('ij->ji', {})", "twice({})",
     "{}.reshape(4, 4)", "{}.chunk(1)[0]", "{}.unbind()[0].expand(4, 4)", "[{}, x][0]", "(x, {})[1]", "sum([], {})",
     "{{'k': {}}}['k']", "[y for y in [{}]][0]", "({} if mask is None else x)", "{}.add_(1)", "{}.mul_(2).add_(1)",
     "(x + {})", "torch.stack([{}, x])[0]", "{}.to(x.dtype)", "torch.where(x > 0, {}, x)", "max([{}], [x])[0]",
     "torch.maximum({}, x)", "torch.broadcast_tensors({}, x)[0]", "torch.atleast_2d({})", "F.pad({}, (0, 0))"]
)  # fmt: skip


@st.composite
def expressions(draw: Callable[..., str]) -> str:
    text = draw(ATOMS)
    for wrapper in draw(st.lists(WRAPPERS, max_size=3)):
        text = wrapper.format(text)
    return text


def statements(depth: int = 2) -> st.SearchStrategy[list[str]]:
    e = expressions()
    simple = st.one_of(
        e.map(lambda t: [f"a = {t}"]),
        e.map(lambda t: [f"b = {t}"]),
        e.map(lambda t: [f"a += {t}"]),
        e.map(lambda t: [f"l.append({t})"]),
        e.map(lambda t: [f"l = [{t}, x]"]),
        e.map(lambda t: [f"{t}.mul_(3)"]),
        e.map(lambda t: [f"d['k'] = {t}"]),
        st.tuples(e, e).map(lambda p: [f"a, b = {p[0]}, {p[1]}"]),
        st.tuples(e, e).map(lambda p: [f"a, b = [{p[0]}, {p[1]}]"]),
        st.sampled_from(
            [["a[0] = 7"], ["b *= 2"], ["a = l.pop()"], ["a = l[0]"], ["b = d['k']"], ["for q in l:", "    q.zero_()"],
             ["for q in reversed(l):", "    b = q"], ["a, b = b, a"], ["m = l"], ["l += [b]"], ["steps.add_(1)"],
             ["s = sizes"], ["s += [1]"], ["s = list(sizes)"], ["s.append(4)"], ["s[0] = 9"], ["l = m"]]
        ),
    )  # fmt: skip
    if not depth:
        return simple
    inner = st.lists(statements(depth - 1), min_size=1, max_size=3).map(lambda bs: [f"    {s}" for b in bs for s in b])
    heads = st.sampled_from(["if mask is None:", "if use:", "for i in range(3):", "with torch.no_grad():"])
    return st.one_of(simple, simple, st.tuples(heads, inner).map(lambda p: [p[0], *p[1]]))


def _state(module: Small) -> dict[str, object]:
    tensors = {name: value.clone() for name, value in module.state_dict().items() if name != "steps"}
    plain = {name: copy.deepcopy(getattr(module, name)) for name in ("sizes", "table", "pair", "depth", "use", "name")}
    return {**tensors, **plain, "children": [id(child) for child in module.modules()], "keys": sorted(vars(module))}


def _same(before: dict[str, object], after: dict[str, object]) -> bool:
    return before.keys() == after.keys() and all(
        torch.equal(value, after[name]) if isinstance(value, torch.Tensor) else value == after[name]  # type: ignore[arg-type]
        for name, value in before.items()
    )


def _attempt(body: str, module: Small) -> None:
    """Run a body; whatever it raises, the state of the module is what counts."""
    with torch.no_grad():
        try:
            function(body)(module, torch.randn(4, 4))
        except (RuntimeError, TypeError, IndexError, KeyError, ValueError, AttributeError, NameError):
            return


PROLOGUE = "a = x\nb = x + 1\nl = [x]\nm = l\nd = {'k': x}\ns = [1]\n"


@given(st.lists(statements(), min_size=1, max_size=7))
@settings(max_examples=300, deadline=None)
def test_accepted_bodies_change_nothing_but_buffers(blocks: list[list[str]]) -> None:
    body = PROLOGUE + "\n".join(line for block in blocks for line in block) + "\nreturn a"
    module = Small()
    before = _state(module)
    if not errors(body):
        _attempt(body, module)
        assert _same(before, _state(module)), body


@pytest.mark.parametrize(
    "body", ["weight.zero_()\nreturn x", "identity(weight).zero_()\nreturn x", "a = l = [weight]\na[0] += 1\nreturn x",
             "F.dropout(weight, 0.5, False).zero_()\nreturn x", "s = sizes\ns += [1]\nreturn x", "return act(weight)"]
)  # fmt: skip
def test_the_property_sees_harm(body: str) -> None:
    """The refused bodies really do change the module, so that the property above can fail."""
    module = Small()
    before = _state(module)
    _attempt(body, module)
    assert errors(body)
    assert not _same(before, _state(module))
