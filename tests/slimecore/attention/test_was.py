"""WAS against its naive implementation in value and gradient, and its invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimecore.attention.was import was_attention
from slimecore.errors import InputError


def naive_was(query, key, evidence, scale=None, top_k=None):
    """SLiMe, section 3.3, spelled out: A averaged over heads, then WAS[q] = sum_p A[q, p] F[p]."""
    heads, n, d = query.shape
    m, parts = evidence.shape
    factor = 1 / math.sqrt(d) if scale is None else scale
    out = []
    for q in range(n):
        total = [0.0] * parts
        for h in range(heads):
            logits = [factor * (query[h, q] * key[h, p]).sum() for p in range(m)]
            if top_k is not None:
                kept = sorted(range(m), key=lambda p: -float(logits[p].detach()))[:top_k]
            else:
                kept = list(range(m))
            weights = torch.stack([logits[p] for p in kept]).softmax(0)
            for k in range(parts):
                total[k] = total[k] + sum(w * evidence[p, k] for w, p in zip(weights, kept, strict=True)) / heads
        out.append(torch.stack([torch.as_tensor(v) for v in total]))
    return torch.stack(out)


def tensors(seed, heads=2, n=5, m=7, d=3, parts=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()  # noqa: E731
    return make(heads, n, d), make(heads, m, d), make(m, parts)


@pytest.mark.parametrize("kwargs", [{}, {"chunk": 2}, {"chunk": 100}, {"scale": 0.3}, {"top_k": 3}, {"top_k": 99}])
@pytest.mark.parametrize("shape", [{}, {"d": 6, "parts": 2}, {"n": 1, "m": 1}, {"heads": 1, "parts": 9}])
def test_was_value_matches_naive(kwargs, shape):
    """The value equals that of the naive implementation."""
    query, key, evidence = tensors(0, **shape)
    expected = naive_was(query, key, evidence, kwargs.get("scale"), kwargs.get("top_k"))
    torch.testing.assert_close(was_attention(query, key, evidence, **kwargs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kwargs", [{}, {"chunk": 2}, {"scale": 0.3}, {"top_k": 3}])
def test_was_gradient_matches_naive(kwargs):
    """The gradient equals that of the naive implementation."""
    query, key, evidence = tensors(1)
    weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = torch.autograd.grad((was_attention(query, key, evidence, **kwargs) * weights).sum(), (query, key, evidence))
    naive = naive_was(query, key, evidence, kwargs.get("scale"), kwargs.get("top_k"))
    theirs = torch.autograd.grad((naive * weights).sum(), (query, key, evidence))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_was_batch_matches_single_items():
    """A batch gives the same values as its members alone."""
    items = [tensors(s, dtype=torch.float32) for s in range(3)]
    batch = was_attention(*(torch.stack(t) for t in zip(*items, strict=True)))
    single = torch.stack([was_attention(*item) for item in items])
    torch.testing.assert_close(batch, single)


def test_evidence_shared_by_query_batch():
    """Evidence may be shared by a batch of queries."""
    query, key, evidence = tensors(3)
    queries = torch.stack([query, 2 * query])
    shared = was_attention(queries, key, evidence)
    torch.testing.assert_close(shared[1], was_attention(2 * query, key, evidence))


@given(seed=st.integers(0, 10_000), chunk=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_was_independent_of_chunk_size(seed, chunk):
    """The chunk size changes nothing."""
    query, key, evidence = tensors(seed, n=9)
    torch.testing.assert_close(
        was_attention(query, key, evidence, chunk=chunk), was_attention(query, key, evidence), rtol=1e-5, atol=1e-6
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_was_linear_and_order_invariant(seed):
    """WAS is linear in the evidence and invariant to the order of keys.

    Values lie inside the convex hull of F, and rows of ones stay ones.
    """
    query, key, evidence = (t.detach() for t in tensors(seed))
    read = was_attention(query, key, evidence)
    torch.testing.assert_close(was_attention(query, key, 3 * evidence + 1), 3 * read + 1)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(was_attention(query, key[:, order], evidence[order]), read)
    assert (read >= evidence.amin(0) - 1e-9).all()
    assert (read <= evidence.amax(0) + 1e-9).all()


def test_evidence_indexed_by_key():
    """Evidence is indexed by the key axis.

    A query that matches a single key gets the evidence of that key, not of the query.
    """
    query = torch.tensor([[[10.0, 0.0]]])
    key = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    evidence = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(was_attention(query, key, evidence, scale=10.0), torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": torch.zeros(6, 4)}, "do not fit"),
        ({"key": torch.zeros(3, 7, 3)}, "do not fit"),
        ({"query": torch.zeros(5, 3)}, "takes query"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"top_k": -1}, "top_k must be at least 1"),
    ],
)
def test_mismatched_shapes_named(change, message):
    """Shapes that do not fit are named."""
    query, key, evidence = tensors(0, dtype=torch.float32)
    arguments = {"query": query, "key": key, "evidence": evidence} | change
    with pytest.raises(InputError, match=message):
        was_attention(**arguments)
