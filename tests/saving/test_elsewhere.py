"""Models from a machine with a GPU on a machine without one; `device=` of `load`."""

import pandas as pd
import pytest
import torch

import tabemb
from tabemb import EmbeddingClassifier, EmbeddingEncoder
from tabemb.fitting import settings
from tabemb.unsupervised.baselines import Popularity

X = pd.DataFrame({"city": ["Bonn", "Rome"] * 40, "size": range(80)})
Y = ["low", "high"] * 40
QUICK = {"max_epochs": 1, "hidden": (8,), "random_state": 0, "n_jobs": 1}


@pytest.fixture
def saved_with_gpu(tmp_path, monkeypatch):
    """Return a function that saves a model whose device is a GPU, as on a machine with one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def save(model):
        with monkeypatch.context() as there:
            there.setattr(settings, "is_here", lambda device: True)
            tabemb.save(model, tmp_path / "model")
        return tmp_path / "model"

    return save


def test_a_model_of_a_gpu_gets_the_cpu_with_a_warning(saved_with_gpu):
    model = EmbeddingClassifier(**QUICK, device="cpu").fit(X, Y)
    expected = model.predict_proba(X)
    path = saved_with_gpu(model.set_params(device="cuda:1"))
    with pytest.warns(RuntimeWarning, match="saved with device='cuda:1', which this machine does not"):
        loaded = tabemb.load(path)
    assert loaded.device == "cpu"
    assert (loaded.predict_proba(X) == expected).all()
    assert tabemb.load(path, device="cpu").device == "cpu"  # without a warning


def test_a_network_of_an_encoder_gets_the_cpu_too(saved_with_gpu):
    net = EmbeddingClassifier(**QUICK, device="cpu")
    encoder = EmbeddingEncoder(estimator=net, random_state=0, n_jobs=1).fit(X, Y)
    net.set_params(device="cuda")
    with pytest.warns(RuntimeWarning, match="saved with device='cuda'"):
        assert tabemb.load(saved_with_gpu(encoder)).estimator.device == "cpu"


def test_a_device_that_cannot_be_had_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tabemb.save(EmbeddingClassifier(**QUICK, device="cpu").fit(X, Y), tmp_path / "model")
    with pytest.raises(ValueError, match=r"^device is 'cuda', but this machine has no CUDA device that"):
        tabemb.load(tmp_path / "model", device="cuda")
    pairs = pd.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"]})
    tabemb.save(Popularity().fit(pairs), tmp_path / "popular")
    with pytest.raises(
        ValueError, match="device must be None for Popularity, which computes on the CPU"
    ):
        tabemb.load(tmp_path / "popular", device="cpu")


def test_a_gpu_that_is_not_there_is_named_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert settings.torch_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"device is 'cuda:2', but .* with this number; it has 2"):
        settings.torch_device("cuda:2")
