import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import (
    log_loss,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    mean_poisson_deviance,
)

from tabemb.targets import NUMBER_TARGETS, ClassTarget, MultilabelTarget, QuantileTarget, class_target

RNG = np.random.default_rng(0)


def mean_loss(target, y, outputs):
    return float(target.loss(target.average(outputs), target.encode(y)).mean())


def test_class_loss_and_probabilities_are_those_of_the_mean_of_the_members():
    y = np.array(["b", "a", "c", "a"])
    target = ClassTarget().fit(y, None)
    outputs = torch.as_tensor(RNG.normal(size=(4, 3, 3)))
    expected = softmax(outputs.numpy(), axis=-1).mean(1)
    np.testing.assert_allclose(target.predict(outputs), expected, atol=1e-12)
    assert mean_loss(target, y, outputs) == pytest.approx(log_loss(y, expected))


@pytest.mark.parametrize("weights", [None, np.array([1.0, 1, 4])])
def test_a_network_of_zeros_predicts_the_weighted_marginal(weights):
    y = np.array([0, 1, 1])
    target = ClassTarget().fit(y, weights)
    share = np.average(y, weights=weights)
    assert target.predict(target.bias.expand(1, 2, 2))[0] == pytest.approx([1 - share, share])


def test_losses_agree_with_scikit_learn():
    y = RNG.poisson(3, 50) + 1.0
    outputs = torch.as_tensor(RNG.normal(size=(50, 2, 1)) * 0.1)
    poisson = NUMBER_TARGETS["poisson"]().fit(y, None)
    deviances = [mean_poisson_deviance(y, poisson.predict(o)) for o in (outputs, outputs * 2)]
    ours = [mean_loss(poisson, y, o) for o in (outputs, outputs * 2)]
    assert (ours[1] - ours[0]) * y.mean() * 2 == pytest.approx(deviances[1] - deviances[0], rel=1e-4)
    quantile = QuantileTarget(0.9).fit(y, None)
    pinball = mean_pinball_loss(y, quantile.predict(outputs), alpha=0.9)
    assert mean_loss(quantile, y, outputs) * quantile.scale[0] == pytest.approx(pinball, rel=1e-5)
    relative = NUMBER_TARGETS["absolute_percentage_error"]().fit(y, None)
    mape = mean_absolute_percentage_error(y, relative.predict(outputs))
    assert mean_loss(relative, y, outputs) == pytest.approx(mape, rel=1e-4)


@pytest.mark.parametrize(
    "name", ["squared_error", "absolute_error", "poisson", "absolute_percentage_error"]
)
def test_encoded_targets_come_back_in_the_users_unit(name):
    y = np.array([[1e6, 2.0], [3e6, 4.0]])
    target = NUMBER_TARGETS[name]().fit(y, None)
    exact = target.encode(y).unsqueeze(1).expand(2, 3, 2)
    exact = exact.log() if name == "poisson" else exact
    np.testing.assert_allclose(target.predict(exact), y, rtol=1e-5)


def test_multilabel_averages_probabilities():
    target = MultilabelTarget().fit(np.array([[1, 0], [0, 0]]), None)
    outputs = torch.tensor([[[0.0, 20.0], [20.0, -20.0]]])
    assert target.predict(outputs)[0] == pytest.approx([0.75, 0.5])
    assert torch.sigmoid(target.average(outputs))[0, 0].tolist() == pytest.approx([0.75, 0.5])


def test_the_kind_of_a_class_target_follows_y():
    assert type(class_target(np.array([[0, 1], [1, 1]]))).__name__ == "MultilabelTarget"
    assert type(class_target(np.array([[0, 1], [2, 1]]))).__name__ == "MultioutputClassTarget"
    with pytest.raises(ValueError, match="Unknown label type"):
        class_target(np.array([0.5, 1.5]))


@pytest.mark.parametrize(("name", "y"), [("poisson", -1.0), ("absolute_percentage_error", 0.0)])
def test_targets_outside_the_range_of_a_loss_are_named(name, y):
    with pytest.raises(ValueError, match=rf"loss='{name}' needs y .* holds {y}"):
        NUMBER_TARGETS[name]().fit(np.array([1.0, y]), None)


def test_of_very_many_classes_a_step_uses_those_of_the_batch_and_others_by_their_share(monkeypatch):
    monkeypatch.setattr("tabemb.targets.classes.MOST_COMPARED", 1500)
    monkeypatch.setattr("tabemb.targets.classes.N_DRAWN", 512)
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(2000), rng.integers(0, 20, 40_000)])
    target = ClassTarget().fit(y, None)
    assert target.has_many_classes
    sampler, generator = target.sampler(), torch.Generator().manual_seed(0)
    counts, expected = np.zeros(2000), np.zeros(2000)
    for _ in range(200):
        batch = target.encode(rng.choice(y, 256))
        sample = sampler.draw(batch, generator)
        assert torch.equal(sample.classes[sample.places], batch)
        counts[sample.classes] += 1
        expected[sample.classes] = sample.log_chance.exp()
    assert counts[:20].min() == 200
    rare = (expected > 0) & (np.arange(2000) >= 20)
    assert counts[rare].mean() / 200 == pytest.approx(expected[rare].mean(), rel=0.05)
    assert target.responses(y).shape == (len(y), 16)
    assert (target.responses(y).sum(0) > 1900).all()
    assert ClassTarget().fit(y[y < 1100], None).sampler() is None  # many, but not very many


def test_outputs_of_two_targets_of_numbers_have_one_unit():
    """Outputs are in standard deviations of the fitted rows: 2 in one part, 4 in all rows."""
    part, whole = (NUMBER_TARGETS["squared_error"]() for _ in range(2))
    part.fit(np.array([-2.0, 2.0]), None), whole.fit(np.array([-4.0, 4.0]), None)
    assert part.as_outputs_of(whole, torch.tensor([[3.0]])).tolist() == [[1.5]]


def test_outputs_of_two_targets_of_classes_are_differences_by_label():
    part, whole = ClassTarget().fit(np.array(list("acd")), None), ClassTarget()
    whole.fit(np.array(list("abcd")), None)
    outputs = torch.tensor([[1.0, 2.0, 6.0]])
    assert part.as_outputs_of(whole, outputs).tolist() == [[-2.0, 0.0, -1.0, 3.0]]
    two = ClassTarget().fit(np.array(list("ab")), None)
    assert two.as_outputs_of(two, torch.tensor([[1.0, 4.0]])).tolist() == [[1.5]]


def test_outputs_of_many_classes_are_those_of_the_most_frequent():
    y = np.repeat(np.arange(40), np.r_[np.ones(20, int), np.full(16, 9), np.ones(4, int)])
    whole, part = ClassTarget().fit(y, None), ClassTarget().fit(y[y != 21], None)
    outputs = torch.eye(39)[[20]]  # class 20, the first frequent one
    compared = part.as_outputs_of(whole, outputs)[0]
    assert compared.shape == (16,)
    assert compared[0] == pytest.approx(38 / 39)
    assert compared[1] == 0  # class 21, which is not in the part
    assert compared[2] == pytest.approx(-1 / 39)
