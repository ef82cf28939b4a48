"""Losses against values worked out by hand."""

import math

import pytest
import torch

from training import losses


def test_bilinear_targets_between_four_cells():
    """Bilinear targets spread over four cells.

    A quarter right and half below cell 0 of a 2 x 2 grid of 8 px cells.
    """
    index, weight = losses.bilinear_targets(torch.tensor([[6.0, 8.0]]), (2, 2), 8)
    assert index.tolist() == [[0, 1, 2, 3]]
    torch.testing.assert_close(weight, torch.tensor([[0.375, 0.125, 0.375, 0.125]]))


def test_bilinear_targets_at_centres_and_rim():
    """Bilinear targets at centres and beyond the rim use a single cell.

    A centre belongs to its cell alone. Positions outside are clamped to the rim.
    """
    index, weight = losses.bilinear_targets(torch.tensor([[12.0, 12.0], [100.0, -5.0]]), (2, 2), 8)
    best = index.gather(-1, weight.argmax(-1, keepdim=True)).flatten()
    assert best.tolist() == [3, 1]
    torch.testing.assert_close(weight.max(-1).values, torch.ones(2))


def test_correspondence_loss_by_hand():
    """The correspondence loss equals a value worked out by hand.

    Two source cells, one hidden. Logits ln 3 for the right cell against 0 for three others: -ln(3 / 6).
    """
    logits = torch.zeros(1, 2, 4)
    logits[0, 0, 3] = math.log(3.0)
    positions = torch.tensor([[[12.0, 12.0], [4.0, 4.0]]])
    loss = losses.correspondence(logits, positions, torch.tensor([[True, False]]), (2, 2), 8)
    assert loss.item() == pytest.approx(math.log(2.0), abs=1e-6)


def test_balanced_nll_weighs_classes_equally():
    """The balanced NLL weighs classes equally.

    Three cells of class 0 at p = 1/2, one of class 1 at p = 1/4, and one ignored: (ln 2 + ln 4) / 2.
    """
    first = torch.tensor([0.5, 0.5, 0.5, 0.75, 0.1])
    probability = torch.stack([first, 1 - first])[None]
    loss = losses.balanced_nll(probability, torch.tensor([[0, 0, 0, 1, -1]]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2, abs=1e-6)


def test_group_loss_of_even_attention():
    """The group loss of even attention equals a value worked out by hand.

    Even attention over 4 cells keeps 3/4 inside the region of three and 1/4 inside the other.
    """
    labels = torch.tensor([[0, 0, 0, 1]])
    loss = losses.group(torch.full((1, 4, 4), 0.25), labels, labels)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, abs=1e-6)
    asking = losses.pick(labels, torch.tensor([[3]]))
    loss = losses.group(torch.full((1, 1, 4), 0.25), asking, labels)
    assert loss.item() == pytest.approx(math.log(4), abs=1e-6)


def test_pick_takes_rows_per_item():
    """``pick`` takes rows of each item.

    Any number of further axes, and every item has cells of its own.
    """
    items = torch.arange(12).reshape(2, 3, 2)
    assert losses.pick(items, torch.tensor([[2, 0], [1, 1]])).tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
    assert losses.pick(items[..., 0], torch.tensor([[2], [0]])).tolist() == [[4], [6]]


def test_attention_mass_is_scaled_softmax():
    """The rows of the attention mass sum to 1 and scale.

    One head, one dimension: softmax of q k.
    """
    q, k = torch.tensor([[[[2.0]]]]), torch.tensor([[[[0.0], [1.0]]]])
    row = losses.attention_mass(q, k)[0, 0]
    torch.testing.assert_close(row, torch.tensor([0.0, 2.0]).softmax(0))


def test_was_matches_naive():
    """WAS equals the naive loop."""
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(2, 5, 5, generator=generator).softmax(-1)
    evidence = torch.rand(2, 3, 5, generator=generator).softmax(1)
    found = losses.was(attention, evidence)
    for b in range(2):
        for part in range(3):
            for place in range(5):
                expected = sum(attention[b, place, j] * evidence[b, part, j] for j in range(5))
                torch.testing.assert_close(found[b, part, place], expected)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 5))


def test_label_transfer_copies_labels():
    """Label transfer copies labels.

    Sharp attention to the right cell costs nothing, and to the wrong cell the lower bound of the probability.
    """
    sharp = torch.eye(3)[None] * 100
    labels = torch.tensor([[0, 1, 1]])
    assert losses.label_transfer(sharp, labels, labels, 2).item() == pytest.approx(0.0, abs=1e-5)
    wrong = losses.label_transfer(sharp, labels, 1 - labels, 2).item()
    assert wrong == pytest.approx(-math.log(1e-6), rel=1e-3)


def test_regions_numbered_by_size():
    """Regions are numbered with the largest first.

    Ids 5 (three cells), 0 (two), 7 (one, too small). An id that only image B shows has no number.
    """
    ids = torch.tensor([[[5, 5, 5, 0, 0, 7], [0, 5, 7, 9, 9, 9]]])
    labels, present = losses.regions(ids, most=3, smallest=2)
    assert labels.tolist() == [[[0, 0, 0, 1, 1, -1], [1, 0, -1, -1, -1, -1]]]
    assert present.tolist() == [[True, True, False]]


def test_cross_logits_average_enlarged_modules():
    """Cross-attention logits average modules and enlarge coarse modules.

    A constant coarse module adds its constant, the fine module keeps its cells, and both weigh one half.
    """
    fine, coarse = torch.arange(4.0).reshape(1, 1, 4, 1), torch.full((1, 2, 1, 1), 3.0)
    one = torch.ones(1, 1, 1, 1)
    logits = losses.cross_logits([fine, coarse], [one, one.expand(1, 2, 1, 1)], (2, 2))
    torch.testing.assert_close(logits, (torch.arange(4.0) + 3).reshape(1, 1, 4) / 2)


def test_cosine_similarity_ignores_length():
    """Cosine similarity ignores length.

    Parallel is 1, opposite -1, whatever the lengths, and tau divides.
    """
    a, b = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[5.0, 0.0], [-2.0, 0.0]]])
    torch.testing.assert_close(losses.cosine_similarity(a, b, 0.5), torch.tensor([[[2.0, -2.0]]]))
