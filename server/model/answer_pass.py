"""The decoder's pass of a training step, without what no loss looks at. Equal to the whole pass but for rounding.

    prompt [P]      the tokens before the picture are the same in each row: computed once for all of them
    shown [b, n]    image tokens and the prompt's end, but for its last token
    asked [S]       that last token and the answer's but for its last, of all rows one after another, without padding

Linear layers and norms take the P + b·n + S tokens in one piece; attention alone needs them row by row. Of the last
layer only the asked tokens are wanted: of all others it computes keys and values. Adapters (LoRA, arXiv 2106.09685) of
layers with the same input are one operation, which adds to what it has instead of making sums of its own.

For decoders of the Llama type on a CPU, in float32; `fits` says of which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel, LlamaRMSNorm


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the tokens of a batch are."""

    prompt: int
    rows: int
    shown: int
    longest: int
    """Asked tokens of the row that has most."""
    asked: Tensor
    """int64 [S], of each its place in rows x longest"""
    cos: Tensor
    sin: Tensor
    """[P + b·n + S, 1, d / 2], of the rotary embedding"""
    seen: Tensor
    """bool [n + longest, P + n + longest], which keys a token of a row looks at"""

    def by_row(self, tokens: Tensor) -> Tensor:
        """[b·n + S, heads, d] → [b, n + longest, heads, d], zeros where a row asks less."""
        shown, asked = torch.split(tokens, [self.rows * self.shown, len(self.asked)])
        return torch.cat([_by_row(shown, self.rows), self.asked_by_row(asked)], 1)

    def asked_by_row(self, asked: Tensor) -> Tensor:
        """[S, heads, d] → [b, longest, heads, d]"""
        return _by_row(_applied(_Spread, asked, self.asked, self.rows * self.longest), self.rows)

    def asked_of(self, tokens: Tensor) -> Tensor:
        """[P + b·n + S, …] → [S, …]"""
        return torch.split(tokens, [len(tokens) - len(self.asked), len(self.asked)])[1]

    def packed(self, by_row: Tensor) -> Tensor:
        """[b, longest, e] → [S, e]"""
        return _applied(_Gathered, by_row.flatten(0, 1), self.asked)


def fits(model: Any, tokens: Tensor) -> bool:
    """Whether this pass can stand in for the decoder's own. tokens: any that it would be given"""
    of = tokens.device.type, tokens.dtype, torch.is_autocast_enabled("cpu"), model.__class__
    return of == ("cpu", torch.float32, False, LlamaModel) and not model.config.attention_dropout


def answer_states(model: Any, prompt: Tensor, shown: Tensor, asked: Tensor, counted: Tensor) -> Tensor:
    """Last hidden states of the counted tokens [S, e], row by row.

    prompt: [P, e]; shown: [b, n, e]; asked: [b, longest, e]; counted: bool [b, longest], no token after one that is not
    """
    at = counted.flatten().nonzero().squeeze(1)
    places = _places(model, len(prompt), shown.shape, counted.shape[1], at)
    tokens = torch.cat([prompt, shown.flatten(0, 1), asked.flatten(0, 1).index_select(0, at)])
    layers = model.layers[: model.config.num_hidden_layers]
    for layer in layers[:-1]:
        tokens = _layer(layer, tokens, places, last=False)
    return _norm(model.norm, _layer(layers[-1], tokens, places, last=True))


def project(linears: Sequence[nn.Module], tokens: Tensor) -> list[Tensor]:
    """Each linear layer's output for the same tokens [N, e]; their adapters in one operation where they are plain."""
    if not all(map(_is_plain, linears)):
        return [linear(tokens) for linear in linears]
    found: list[Any] = list(linears)
    parts = [(one.base_layer.weight, one.lora_A["default"].weight, one.lora_B["default"].weight) for one in found]
    flat = [part for each in zip(*parts, strict=True) for part in each]
    together: Any = _Adapted
    return list(together.apply(tokens, [float(one.scaling["default"]) for one in found], *flat))


def _is_plain(linear: Any) -> bool:
    """An adapter of LoRA's first form, without dropout, over a frozen layer without bias."""
    if getattr(linear, "active_adapters", None) != ["default"]:
        return False
    layer, plain = linear.base_layer, isinstance(linear.lora_dropout["default"], nn.Identity)
    used = not (linear.disable_adapters or linear.merged or linear.lora_variant)
    biased = layer.bias is not None or linear.lora_B["default"].bias is not None
    return used and plain and not biased and type(layer) is nn.Linear and not layer.weight.requires_grad


def _places(model: Any, prompt: int, shown: torch.Size, longest: int, asked: Tensor) -> _Places:
    rows, count = shown[:2]
    whole = torch.arange(prompt + count + longest)
    half = model.rotary_emb.inv_freq.shape[0]  # the other half is the same
    cos, sin = (table[0, :, None, :half] for table in model.rotary_emb(model.embed_tokens.weight, whole[None]))
    position = torch.cat(
        [whole[:prompt], whole[prompt : prompt + count].repeat(rows), prompt + count + asked % longest]
    )
    seen = whole[None] <= whole[prompt:, None]
    return _Places(prompt, rows, count, longest, asked, cos[position], sin[position], seen)


def _layer(layer: LlamaDecoderLayer, tokens: Tensor, places: _Places, *, last: bool) -> Tensor:
    """[P + b·n + S, e] → the same; of the last layer only [S, e]."""
    normed = _norm(layer.input_layernorm, tokens)
    mixed = _last_attention(layer.self_attn, normed, places) if last else _attention(layer.self_attn, normed, places)
    after = (places.asked_of(tokens) if last else tokens) + project([layer.self_attn.o_proj], mixed)[0]
    gate, up = project([layer.mlp.gate_proj, layer.mlp.up_proj], _norm(layer.post_attention_layernorm, after))
    down: Tensor = project([layer.mlp.down_proj], layer.mlp.act_fn(gate) * up)[0]
    return after + down


def _attention(attention: Any, tokens: Tensor, places: _Places) -> Tensor:
    """What each token sees: [P + b·n + S, heads · d]."""
    query, key, value = project([attention.q_proj, attention.k_proj, attention.v_proj], tokens)
    query, keys, values = _turned(attention, query, places), *_keys_and_values(attention, key, value, places)
    alone, others = torch.split(query, [places.prompt, len(query) - places.prompt])
    of_prompt = _look(alone[None], keys[:1, : places.prompt], values[:1, : places.prompt], attention.scaling, None)[0]
    rows = _look(places.by_row(others), keys, values, attention.scaling, places.seen)
    shown, asked = torch.split(rows, [places.shown, places.longest], 1)
    return torch.cat([of_prompt, shown.flatten(0, 1), places.packed(asked)])


def _last_attention(attention: Any, tokens: Tensor, places: _Places) -> Tensor:
    """What each asked token sees: [S, heads · d]."""
    key, value = project([attention.k_proj, attention.v_proj], tokens)
    (query,) = project([attention.q_proj], places.asked_of(tokens))
    turned = _turned(attention, query, places)
    keys, values = _keys_and_values(attention, key, value, places)
    seen = places.seen[places.shown :]
    return places.packed(_look(places.asked_by_row(turned), keys, values, attention.scaling, seen))


def _turned(attention: Any, projected: Tensor, places: _Places) -> Tensor:
    """With the rotary embedding of their places, those of the last tokens: [tokens, heads, d]."""
    by_head = _heads(attention, projected)
    start = len(places.cos) - len(by_head)
    return _applied(_Rotary, by_head, places.cos[start:], places.sin[start:])


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """[tokens, heads · d] → [tokens, heads, d]"""
    width = int(attention.head_dim)
    return projected.view(len(projected), projected.shape[1] // width, width)


def _keys_and_values(attention: Any, key: Tensor, value: Tensor, places: _Places) -> tuple[Tensor, Tensor]:
    turned, values = _turned(attention, key, places), _heads(attention, value)
    repeats = attention.num_key_value_groups
    return _keys(turned.repeat_interleave(repeats, 1), places), _keys(values.repeat_interleave(repeats, 1), places)


def _keys(tokens: Tensor, places: _Places) -> Tensor:
    """[P + b·n + S, heads, d] → [b, P + n + longest, heads, d]"""
    prompt, others = torch.split(tokens, [places.prompt, len(tokens) - places.prompt])
    return torch.cat([prompt.expand(places.rows, -1, -1, -1), places.by_row(others)], 1)


def _look(query: Tensor, key: Tensor, value: Tensor, scale: float, seen: Tensor | None) -> Tensor:
    """[b, q, heads, d] → [b, q, heads · d]. seen: None = each looks at itself and what is before it"""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    found = functional.scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, scale=scale)
    return found.transpose(1, 2).flatten(2)


def _norm(norm: LlamaRMSNorm, tokens: Tensor) -> Tensor:
    if norm.weight.requires_grad:
        normed: Tensor = norm(tokens)
        return normed
    return _applied(_Norm, tokens, norm.weight, norm.variance_epsilon)


def _by_row(tokens: Tensor, rows: int) -> Tensor:
    """[b · n, …] → [b, n, …]"""
    return tokens.view(rows, len(tokens) // rows, *tokens.shape[1:])


def _applied(operation: Any, *inputs: Any) -> Tensor:
    found: Tensor = operation.apply(*inputs)
    return found


class _Norm(torch.autograd.Function):
    """RMSNorm (arXiv 1910.07467) with a frozen weight: of its steps only input and root are kept."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        root: Tensor = torch.linalg.vector_norm(tokens, dim=1, keepdim=True)
        root = root.square_().div_(tokens.shape[1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(tokens, weight, root)
        return (tokens * root).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        tokens, weight, root = ctx.saved_tensors
        given = gradients[0] * weight
        along = (given * tokens).mean(1, keepdim=True).mul_(root.square())
        return given.addcmul_(tokens, along, value=-1).mul_(root), None, None


class _Rotary(torch.autograd.Function):
    """[tokens, heads, d] → each pair (i, i + d/2) turned by its angle (arXiv 2104.09864), paired as Llama does."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(tokens, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(gradients[0], cos, sin, -1.0), None, None


def _turn(tokens: Tensor, cos: Tensor, sin: Tensor, way: float) -> Tensor:
    one, other = tokens.chunk(2, -1)
    turned = torch.empty(tokens.shape, dtype=tokens.dtype)
    first, second = turned.chunk(2, -1)
    torch.mul(one, cos, out=first).addcmul_(other, sin, value=-way)
    torch.mul(other, cos, out=second).addcmul_(one, sin, value=way)
    return turned


class _Spread(torch.autograd.Function):
    """[S, …] → [places, …], zeros elsewhere. The way back only reads; PyTorch's own adds up, for places may repeat."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, at: Tensor, places: int) -> Tensor:
        ctx.save_for_backward(at)
        return packed.new_zeros((places, *packed.shape[1:])).index_copy_(0, at, packed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (at,) = ctx.saved_tensors
        return gradients[0].index_select(0, at), None, None


class _Gathered(torch.autograd.Function):
    """[places, …] → [S, …]"""

    @staticmethod
    def forward(ctx: Any, spread: Tensor, at: Tensor) -> Tensor:
        ctx.save_for_backward(at)
        ctx.shape = spread.shape
        return spread.index_select(0, at)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (at,) = ctx.saved_tensors
        return gradients[0].new_zeros(ctx.shape).index_copy_(0, at, gradients[0]), None


class _Adapted(torch.autograd.Function):
    """x → x·Wᵢᵀ + scaleᵢ · x·Aᵢᵀ·Bᵢᵀ for each i, W frozen: sums are made in place, down-projections in one product."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, scales: list[float], *parts: Tensor) -> tuple[Tensor, ...]:
        count = len(scales)
        frozen, down, up = parts[:count], parts[count : 2 * count], parts[2 * count :]
        stacked = torch.cat(down)
        low = tokens @ stacked.T
        ctx.scales = scales
        ctx.save_for_backward(tokens, low, stacked, *frozen, *up)
        lows = torch.split(low, [len(part) for part in down], 1)
        return tuple(
            torch.mm(tokens, weight.T).addmm_(one, raised.T, alpha=scale)
            for weight, one, raised, scale in zip(frozen, lows, up, scales, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tokens, low, stacked, *others = ctx.saved_tensors
        count, scales = len(gradients), ctx.scales
        frozen, up = others[:count], others[count:]
        ranks = [raised.shape[1] for raised in up]
        given = torch.cat([(one @ raised).mul_(s) for one, raised, s in zip(gradients, up, scales, strict=True)], 1)
        downs = torch.split(given.T @ tokens, ranks)
        lows = torch.split(low, ranks, 1)
        ups = [(one.T @ part).mul_(scale) for one, part, scale in zip(gradients, lows, scales, strict=True)]
        wanted = None
        if ctx.needs_input_grad[0]:
            wanted = given @ stacked
            for one, weight in zip(gradients, frozen, strict=True):
                wanted.addmm_(one, weight)
        return (wanted, None, *[None] * count, *downs, *ups)
