"""Gated recurrent units whose gradient is written out: faster to train on a CPU than torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def gru_states(net: nn.GRU, inputs: Tensor, start: Tensor) -> Tensor:
    """Return the states after each step, those of ``net`` but for rounding.

    torch records a dozen operations for each step and multiplies the gradient of the weights step by
    step. Here the input is multiplied once for all steps, and so is the gradient of the weights.

    Parameters
    ----------
    net : nn.GRU
        Of one layer.
    inputs : Tensor of shape (longest, n, d_in)
    start : Tensor of shape (n, d)

    Returns
    -------
    Tensor of shape (longest, n, d)
    """
    n_gates = 2 * net.hidden_size
    weight, weight_of_state, bias, bias_of_state = net.parameters()
    both = torch.cat([bias[:n_gates] + bias_of_state[:n_gates], bias[n_gates:]])
    terms = torch.addmm(both, inputs.flatten(0, 1), weight.T).unflatten(0, inputs.shape[:2])
    states: Tensor = _Steps.apply(  # type: ignore[no-untyped-call]
        terms, start, weight_of_state, bias_of_state[n_gates:]
    )
    return states


class _Steps(torch.autograd.Function):
    """The steps of a gated recurrent unit (Cho et al. 2014), from the terms of its input.

    With reset gate r, update gate z and candidate n::

        r, z = sigmoid(terms + U h),    n = tanh(terms + r * (U h + b)),    h <- n + z * (h - n)
    """

    @staticmethod
    def forward(ctx: Any, terms: Tensor, start: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        d = start.shape[1]
        of_gates, of_candidate = (part.T.contiguous() for part in weight.split([2 * d, d]))
        values = terms.clone()  # becomes r, z and n
        products = torch.empty_like(values[..., 2 * d :])  # U h + b of the candidates
        states = torch.cat([start.unsqueeze(0), torch.empty_like(products)])
        for value, product, state, after in zip(values, products, states, states[1:]):
            gates, candidate = value.split([2 * d, d], dim=1)
            gates.addmm_(state, of_gates).sigmoid_()
            torch.addmm(bias, state, of_candidate, out=product)
            candidate.addcmul_(gates[:, :d], product).tanh_()
            torch.lerp(candidate, state, gates[:, d:], out=after)
        ctx.save_for_backward(values, products, states, weight)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        values, products, states, weight = ctx.saved_tensors
        d = states.shape[2]
        reset, update, candidate = values.split(d, dim=2)
        # the factors from the gradient of a state to those of its terms, for all steps at once
        to_candidate = (1 - update) * (1 - candidate.square())
        to_update = (states[:-1] - candidate) * update * (1 - update)
        to_reset = products * reset * (1 - reset)
        inner = torch.empty_like(values)  # gradients of U h: of r, of z, of the candidate
        of_candidates = torch.empty_like(products)
        of_state = torch.zeros_like(states[0])
        for t in range(len(values) - 1, -1, -1):
            of_state += gradient[t]
            of_reset, of_update, of_product = inner[t].split(d, dim=1)
            of_candidate = torch.mul(of_state, to_candidate[t], out=of_candidates[t])
            torch.mul(of_candidate, to_reset[t], out=of_reset)
            torch.mul(of_state, to_update[t], out=of_update)
            torch.mul(of_candidate, reset[t], out=of_product)
            of_state.mul_(update[t]).addmm_(inner[t], weight)
        of_weight = inner.flatten(0, 1).T @ states[:-1].flatten(0, 1)
        of_bias = inner[..., 2 * d :].sum((0, 1))
        inner[..., 2 * d :] = of_candidates  # now the gradients of the terms
        return inner, of_state, of_weight, of_bias
