"""Candidates: the classes that may come next for an entity, found by their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from tabemb.data.vocabulary import N_SPECIAL
from tabemb.estimators.event_base import EventEstimator
from tabemb.fitting.checks import align_columns
from tabemb.fitting.memory import memory_checked
from tabemb.fitting.recommending import blocks, places_of, ranking, top
from tabemb.fitting.settings import FLAG, whole
from tabemb.network.devices import device_of
from tabemb.network.model import ClassVectors, Network
from tabemb.spaces.space import EmbeddingSpace
from tabemb.targets.classes import MANY_CLASSES
from tabemb.training.threads import threads

ANSWER = "answer"
"""Name of the classes in a space and in recommendations."""


class CandidateEstimator(EventEstimator):
    """Base class of the event classifier: vectors of entities and classes, and recommendations.

    The vector of an entity at a moment is the last hidden layer, mapped and averaged over the members.
    The vectors of the classes are the rows of the output layer (Covington et al. 2016).
    """

    class_vectors: bool | str
    classes_: Any

    _class_space: tuple[Network, EmbeddingSpace] | None = None
    """The space of the classes, once it has been computed, and the network that it belongs to."""

    @property
    def class_space_(self) -> EmbeddingSpace:
        """The vectors of the classes, in the order of ``classes_``; the last coordinate is the bias.

        The dot product with a vector of `user_vectors` is the output of the class, and `predict_proba`
        is the softmax of the outputs. So ``class_space_.index(metric="dot")`` finds candidates without
        the model.
        """
        self._check_class_vectors()
        if self._class_space is None or self._class_space[0] is not self.network_:
            with torch.no_grad():
                vectors = self.network_.class_vectors().float().numpy(force=True)
            space = EmbeddingSpace(
                vectors, pd.Index(self.classes_, tupleize_cols=False), self._class_counts(), ANSWER
            )
            self._class_space = self.network_, space
        return self._class_space[1]

    @memory_checked
    def user_vectors(self, X: Any) -> pd.DataFrame:
        """Return the vector of each entity at a future event.

        Its dot products with the vectors of ``class_space_`` are the outputs of `predict_proba` before
        the softmax, averaged over all members. The last coordinate is 1 and adds the bias of the class.
        The vectors of several networks are concatenated and divided by the number of networks.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as for `predict_proba`, one for each vector.

        Returns
        -------
        pandas.DataFrame of shape (n_events, d)
            Indexed by entity; the columns are ``{entity}_{i}``.

        Raises
        ------
        ValueError
            The classes have no vectors; pass ``class_vectors=True`` and fit again.
        """
        self._check_class_vectors()
        nothing = torch.zeros(0, dtype=torch.long, device=device_of(self.network_))
        with threads(self.n_jobs):
            vectors = self._outputs(X, lambda output: self.network_.queries(output.hidden), nothing)
            array = vectors.float().numpy(force=True)
        columns = [f"{self.entity}_{i}" for i in range(array.shape[1])]
        return pd.DataFrame(array, index=pd.Index(self._entities_of(X)), columns=columns)

    @memory_checked
    def recommend(self, X: Any, k: int = 10, exclude_seen: bool = True) -> pd.DataFrame:
        """Return the classes that are most likely to come next, such as items for a user.

        Scores are computed for a few entities at a time, so entities x classes are never in memory.

        Parameters
        ----------
        X : frame of shape (n_events, n_columns)
            Events as for `predict_proba`, one for each list of classes.
        k : int, default=10
            Number of classes; fewer if an entity has had nearly all classes.
        exclude_seen : bool, default=True
            Whether to leave out the classes that the entity has already had in ``fit`` and `update`.

        Returns
        -------
        pandas.DataFrame
            The column of the entity, ``rank`` (from 1), ``answer`` (the class) and ``score`` (the output
            before the softmax). Classes with equal scores are sorted by falling frequency.

        Raises
        ------
        ValueError
            The classes have no vectors; pass ``class_vectors=True`` and fit again.
        """
        whole(1).check("k", k)
        FLAG.check("exclude_seen", exclude_seen)
        space = self.class_space_
        users, labels = self.user_vectors(X).to_numpy(), space.categories.rename(ANSWER)
        frame = align_columns(self, X)
        rows, classes = self.source_.seen_of(frame) if exclude_seen else (np.zeros(0, int),) * 2
        order = np.argsort(rows, kind="stable")
        rows, classes = rows[order], classes[order]
        places = places_of(np.asarray(space.counts))
        parts = []
        for start, stop in blocks(len(users), len(space)):
            scores = users[start:stop] @ space.vectors.T
            seen = slice(*np.searchsorted(rows, [start, stop]))
            scores[rows[seen] - start, classes[seen]] = -np.inf
            parts.append(top(scores, k, places))
        items, scores = (np.concatenate(arrays) for arrays in zip(*parts))
        return ranking(self._entities_of(X), labels, items, scores)

    def _entities_of(self, X: Any) -> pd.Series:
        """Return the entity of each row as the user gave it."""
        entities = align_columns(self, X)[self.entity].to_pandas()
        return pd.Series(entities, name=self.entity)

    def _check_class_vectors(self) -> None:
        target = self._fitted.target
        if not target.has_many_classes:
            raise ValueError(
                f"class_vectors must be True for vectors of up to {MANY_CLASSES} classes and of what is "
                f"compared with them; got {self.class_vectors!r} and {target.n_outputs}; fit again."
            )

    def _class_counts(self) -> np.ndarray:
        """Return the training events of each class, (n_classes,)."""
        head = self.network_.networks[0].head
        assert isinstance(head, ClassVectors)
        assert head.tied is not None
        name = list(self.encoder_.schema.tables)[head.tied.table]
        codes = head.tied.codes.numpy(force=True)
        counts = self.encoder_.vocabularies_[name].counts[codes]
        return np.where(codes < N_SPECIAL, 0, counts)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_class_space"}
