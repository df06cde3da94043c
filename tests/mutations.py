"""Break the library on purpose, one place at a time: every break must turn a test red.

`make mutations` copies the checkout, plants each break in the copy, and runs the tests listed with it,
which pass without it. A break that survives shows behaviour without a test.

`python tests/mutations.py cutoff weights` plants only breaks whose names contain one of these words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ("-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=no", "-rfE")
GREEN, RED = 0, 1
"""Exit codes of pytest if all tests pass and if one fails; other codes mean that it could not run."""


class Break(NamedTuple):
    """A break: what it does, the file below `tabemb/`, the text to replace, the new text, the tests."""

    name: str
    file: str
    old: str
    new: str
    tests: str

    def plant(self, copy: Path) -> None:
        """Replace the old text by the new one."""
        path = copy / "tabemb" / self.file
        path.write_text(path.read_text().replace(self.old, self.new))

    def remove(self, copy: Path) -> None:
        """Restore the original file."""
        shutil.copyfile(ROOT / "tabemb" / self.file, copy / "tabemb" / self.file)


ENCODER = "tests/estimators/test_encoder.py"
EXPLAINED = "tests/estimators/test_explained.py"
SETS = "tests/estimators/test_sets.py"
EVENTS = "tests/estimators/test_events.py"
JOINS = "tests/data/test_joins.py"
CHECKPOINTS = "tests/fitting/test_checkpoints.py"
DAMAGE = "tests/saving/test_damage.py"
MODEL = "tests/network/test_model.py"
RECIPE = "tests/fitting/test_recipe.py"
ITEMS = "tests/unsupervised/test_items.py"
GROUPS = "tests/unsupervised/test_goals_and_groups.py"
WALKS = "tests/unsupervised/test_walks.py"
PAIRS = "tests/unsupervised/test_pairs.py"
DRIFT = "tests/test_drift.py"
GROWTH = "tests/estimators/test_growth.py"
REPLAY = "tests/estimators/test_replay.py tests/fitting/test_replay.py"
CANDIDATES = "tests/estimators/test_candidates.py"
ONNX = "tests/saving/test_onnx.py"
ROWS = "tests/estimators/test_rows.py"
PREDICT = "tests/scoring/test_predict.py"
HASHING = "tests/data/test_hashing.py"
WITHIN = "tests/data/test_within.py"
WORKERS = "tests/distributed/test_workers.py"
TRAINING = "tests/training/test_training.py"
WORDS = "tests/data/test_words.py"
TEXTS = "tests/estimators/test_texts_and_vectors.py"
VECTORS = "tests/data/test_vectors.py"
EXPECTED = "tests/data/test_expected.py"
PLACING = "tests/fitting/test_placing.py"
COMPARED = "tests/compare/test_details.py"
REGRESSOR = "tests/estimators/test_contract.py::TestEmbeddingRegressor"

BREAKS = [
    # leaks
    Break(
        "the effects of a training row hold its target",
        "data/out_of_fold.py",
        "effects.sums_[positions] - np.stack(fold_sums, axis=1)",
        "effects.sums_[positions]",
        "tests/data/test_out_of_fold.py",
    ),
    Break(
        "the effect that is expected of a level holds its own mean",
        "data/expected.py",
        "        np.fill_diagonal(left_out, 0)\n",
        "",
        f"{EXPECTED}::test_what_is_expected_of_a_level_is_the_prediction_of_a_gaussian_process_without_it",
    ),
    Break(
        "the effects that are expected of training rows hold the targets of their fold",
        "data/out_of_fold.py",
        "all_rows - np.bincount(cells, column, n_folds * n_levels).reshape(n_folds, n_levels)",
        "all_rows + np.zeros((n_folds, n_levels))",
        f"{EXPECTED}::test_out_of_fold_expected_effects_are_those_of_a_fit_without_the_fold",
    ),
    Break(
        "the encoder's networks are fitted on all rows",
        "estimators/cross_fitting.py",
        "rows.take(np.asarray(fold.train))",
        "rows",
        f"{ENCODER}::test_features_of_pure_noise_do_not_leak_the_target_of_their_row",
    ),
    Break(
        "the encoder gives training rows the mean of all folds",
        "estimators/encoder.py",
        "features[fold.held_out] += read_values(by_code, codes[fold.held_out])",
        "features[fold.held_out] += read_values(self.by_code_, codes[fold.held_out])",
        f"{ENCODER}::test_features_of_pure_noise_do_not_leak_the_target_of_their_row",
    ),
    Break(
        "events at the cutoff are joined",
        "data/logs.py",
        "return np.searchsorted(times, moments)",
        'return np.searchsorted(times, moments, side="right")',
        JOINS,
    ),
    Break(
        "an event at the start of the window is left out",
        "data/logs.py",
        "first = self._rank(self.axis.before(cutoffs, window))",
        'first = np.searchsorted(self._times, self.axis.before(cutoffs, window), side="right")',
        JOINS,
    ),
    Break(
        "an event sees its own outcome",
        "fitting/event_source.py",
        "frame = frame.drop_columns(hidden)",
        "frame = frame",
        f"{EVENTS}::test_an_event_does_not_see_its_own_outcome_and_later_ones_do",
    ),
    Break(
        "an event sees its own target",
        "network/history.py",
        "        return _unpadded(states, history), after",
        "        return _unpadded(states[1:], history), after",
        "tests/network/test_history.py",
    ),
    Break(
        "events of one time see each other's targets",
        "fitting/event_source.py",
        "        if not self.hide_ties:\n",
        "        if True:\n",
        f"{EVENTS}::test_an_event_does_not_see_the_answer_of_another_at_the_same_time",
    ),
    Break(
        "validation rows train from the start",
        "fitting/recipe.py",
        "positions = None if train is None else torch.from_numpy(train)",
        "positions = None",
        RECIPE,
    ),
    Break(
        "validation rows never train",
        "estimators/base.py",
        "if holdout.refit:",
        "if False:",
        RECIPE,
    ),
    Break(
        "the effects of the last training leave out the validation rows",
        "fitting/recipe.py",
        "        self.rows.use_effects_of(None)\n",
        "",
        RECIPE,
    ),
    Break(
        "categories of validation rows count as seen",
        "fitting/training_rows.py",
        "        _hide_unseen(validation.inputs, self.batch.inputs, is_trained, self.storage)\n",
        "",
        "tests/fitting/test_training_rows.py",
    ),
    Break(
        "the hold-out ignores groups",
        "fitting/holdout.py",
        "    if groups is not None:\n        return",
        "    if False:\n        return",
        "tests/fitting/test_holdout.py",
    ),
    # values that are in no row
    Break(
        "the unknown category is never trained",
        "network/dropout.py",
        "        codes = torch.where(draw < rates, UNKNOWN, codes)\n",
        "",
        MODEL,
    ),
    Break(
        "the missing category is never trained",
        "network/dropout.py",
        "        codes = torch.where(draw < rates * self.missing_share, MISSING, codes)\n",
        "",
        MODEL,
    ),
    Break(
        "a hidden cell keeps its effects",
        "network/dropout.py",
        "effects * (hidden == 0).unsqueeze(-1)",
        "effects",
        MODEL,
    ),
    # numbers within categories
    Break(
        "a number is scaled within no category",
        "data/within.py",
        "if by is None or shares[by] < MIN_SHARE:",
        "if True:",
        WITHIN,
    ),
    Break(
        "chance counts as variance between levels",
        "data/within.py",
        "share = (between - (len(counts) - 1) * noise) / (total + noise)",
        "share = between / total",
        WITHIN,
    ),
    Break(
        "a rare level has its own unit alone",
        "data/within.py",
        "weight = np.square(N_COMMON / (self.counts + N_COMMON))",
        "weight = 0.0",
        WITHIN,
    ),
    Break(
        "a level of few values has its own median alone",
        "data/within.py",
        "centers = median * (1 - pull) + common.center * pull",
        "centers = median",
        WITHIN,
    ),
    Break(
        "a bin is named by its neighbour",
        "data/within.py",
        "(values > edges[codes])",
        "(values >= edges[codes])",
        WITHIN,
    ),
    Break(
        "a missing value is in the first bin",
        "data/within.py",
        "np.where(np.isnan(values), MISSING, bins)",
        "bins",
        WITHIN,
    ),
    Break(
        "a time is scaled within categories",
        "data/encoding.py",
        "if column not in known and not events.are_clock(values):",
        "if column not in known:",
        WITHIN,
    ),
    Break(
        "an event and the earlier ones are scaled apart",
        "data/encoding.py",
        "if not name or name != self.earlier:",
        "if True:",
        "tests/estimators/test_within.py",
    ),
    # training
    Break(
        "the averaged weights are not used",
        "training/loop.py",
        "        self.training.optimizer.average.swap()\n",
        "",
        TRAINING,
    ),
    Break(
        "the last weights are validated in the place of the average",
        "training/loop.py",
        "    with training.optimizer.average.in_place():\n",
        "    if True:\n",
        TRAINING,
    ),
    Break(
        "the best epoch is not restored",
        "training/loop.py",
        "        self.best.restore()\n",
        "",
        TRAINING,
    ),
    Break(
        "max_time is ignored",
        "training/loop.py",
        " or (self.limit is not None and self.seconds >= self.limit)",
        "",
        f"{TRAINING}::test_a_spent_budget_ends_the_epoch_after_a_step",
    ),
    Break(
        "max_time is looked at between epochs alone",
        "training/loop.py",
        "                if training.is_cut():\n                    break\n",
        "",
        f"{TRAINING}::test_a_spent_budget_ends_the_epoch_after_a_step",
    ),
    Break(
        "the first network may take the time of all",
        "training/loop.py",
        "max(self.limit - self.seconds, 0) / n_shares",
        "max(self.limit - self.seconds, 0)",
        f"{TRAINING}::test_a_share_is_an_equal_part_of_the_time_that_is_left",
    ),
    Break(
        "the thread count is not restored",
        "training/threads.py",
        "                torch.set_num_threads(before)",
        "                pass",
        f"{TRAINING}::test_the_users_random_state_and_threads_are_given_back",
    ),
    Break(
        "dropout acts on predictions",
        "network/dropout.py",
        "if not self.training or not self.n_dropped:",
        "if not self.n_dropped:",
        MODEL,
    ),
    Break(
        "the loss of sampled classes ignores their chance",
        "fitting/objective.py",
        "outputs - sample.log_chance",
        "outputs",
        RECIPE,
    ),
    Break(
        "numbers are scaled by the rows beside them",
        "data/encoding.py",
        "unscaled = [self._unscaled(feature, events, levels) for feature in features]",
        "unscaled = [v - v.mean() for v in (self._unscaled(f, events, levels) for f in features)]",
        "tests/data/test_encoding.py",
    ),
    # arguments
    Break(
        "weights have no part in the loss",
        "fitting/objective.py",
        "self.target.loss(outputs, y).mean(1) * batch.weight",
        "self.target.loss(outputs, y).mean(1)",
        "tests/test_faults.py::test_sample_weights_are_not_ignored",
    ),
    Break(
        "weights have no part in the effects",
        "fitting/recipe.py",
        "weights_of(holdout.train, holdout.rows.all_weights)",
        "weights_of(holdout.train, np.ones(len(holdout.rows)))",
        RECIPE,
    ),
    Break(
        "weights have no part in the validation loss",
        "fitting/objective.py",
        "return self.target.loss(outputs, piece.y)[:, 0] * piece.weight",
        "return self.target.loss(outputs, piece.y)[:, 0]",
        RECIPE,
    ),
    Break(
        "a gain by chance makes an epoch better",
        "training/best.py",
        "by_chance = CHANCE * best.standard_error(validated)",
        "by_chance = 0.0",
        TRAINING,
    ),
    Break(
        "weights have no part in vocabularies and scales",
        "fitting/recipe.py",
        "encoder.fit(rows.frame, rows.weights)",
        "encoder.fit(rows.frame)",
        RECIPE,
    ),
    Break(
        "a history keeps its oldest events",
        "data/histories.py",
        "np.repeat(ends - offsets[1:], n_newest)",
        "np.repeat(ends - lengths - offsets[:-1], n_newest)",
        "tests/data/test_encoding.py",
    ),
    Break(
        "min_count is ignored",
        "fitting/recipe.py",
        "settings.n_bins, settings.min_count, settings.max_events",
        "settings.n_bins, 1, settings.max_events",
        f"{ROWS}::test_categories_below_min_count_are_read_as_unknown",
    ),
    Break(
        "a preset replaces what the user set",
        "fitting/settings.py",
        "if values[name] == defaults[name]",
        "if True",
        "tests/fitting/test_settings.py",
    ),
    Break(
        "frames are matched by position",
        "fitting/checks.py",
        "            return frame\n        name = type(estimator).__name__",
        "            return frame.rename_columns(list(self.names[: frame.num_columns]))\n"
        "        name = type(estimator).__name__",
        f"{REGRESSOR}::test_the_order_of_columns_and_further_ones_change_nothing",
    ),
    Break(
        "a refused refit leaves the new target",
        "estimators/base.py",
        "            prepared = recipe.prepare(rows)\n",
        "            prepared = recipe.prepare(rows)\n            self.target_ = recipe.target\n",
        f"{REGRESSOR}::test_a_refused_refit_changes_nothing",
    ),
    Break(
        "the last padded step stands for the last event",
        "network/inputs.py",
        "(self.offsets[1:] - 1).clamp(min=0)",
        "(self.offsets[1:] - 2).clamp(min=0)",
        "tests/network/test_history.py",
    ),
    Break(
        "update keeps no state",
        "fitting/event_source.py",
        "        self._keep(encoder, network, events, y, target)\n",
        "",
        f"{EVENTS}::test_kept_states_go_on_as_if_the_whole_sequence_were_read_again",
    ),
    # files
    Break(
        "a save writes straight to the target",
        "files/whole.py",
        '        with open(part, "x+b") as file:\n'
        "            yield file\n"
        "            file.flush()\n"
        "            os.fsync(file.fileno())\n"
        "        if target.exists():\n"
        "            os.chmod(part, target.stat().st_mode)\n"
        "        os.replace(part, target)\n",
        '        with open(target, "w+b") as file:\n            yield file\n',
        "tests/test_files.py",
    ),
    Break(
        "the version of the format is ignored",
        "files/layout.py",
        "if version not in ((FORMAT,) if is_sealed else OLDER):",
        "if False:",
        f"{DAMAGE}::test_a_later_format_names_its_version",
    ),
    Break(
        "the checksum is not compared",
        "files/whole.py",
        "if bytes(content[place : place + N_DIGITS]) != checksum(content, place):",
        "if False:",
        f"{DAMAGE}::test_a_flipped_bit_is_refused",
    ),
    # checkpoints
    Break(
        "a checkpoint forgets where the generators stood",
        "training/checkpoints.py",
        "                self.random.load(states[rank])\n",
        "                pass\n",
        f"{CHECKPOINTS}::test_a_fit_killed_again_and_again_ends_in_the_same_weights",
    ),
    Break(
        "a checkpoint forgets the moments of the optimiser",
        "training/optimizers.py",
        "            optimizer.load(stored)\n",
        "            pass\n",
        f"{CHECKPOINTS}::test_a_fit_killed_again_and_again_ends_in_the_same_weights",
    ),
    Break(
        "a checkpoint of other rows is taken",
        "fitting/recipe.py",
        "[settings, target, batch, validation, holdout.train]",
        "[settings, target]",
        f"{CHECKPOINTS}::test_another_fit_has_a_file_of_its_own",
    ),
    # explanations
    Break(
        "standard errors ignore the shrinkage",
        "data/effects.py",
        "effects, strength) / n_shrunken)",
        "effects, strength) / counts[:, None])",
        "tests/data/test_effects.py",
    ),
    Break(
        "effects are shown in standard deviations of y",
        "estimators/effect_levels.py",
        "(part.effects * unit * scale)",
        "part.effects",
        EXPLAINED,
    ),
    Break(
        "intervals of numbers are shown scaled",
        "estimators/effect_levels.py",
        ".astype(float) * scale.unit + scale.center",
        ".astype(float)",
        EXPLAINED,
    ),
    Break(
        "columns of a group are permuted one by one",
        "estimators/importances.py",
        "    for name in columns:\n        i =",
        "    for name in columns[:1]:\n        i =",
        EXPLAINED,
    ),
    Break(
        "pairs do not count as important",
        "estimators/importances.py",
        "beyond / len(inputs)",
        "0.0",
        EXPLAINED,
    ),
    Break(
        "a summary shows missing values of another column",
        "estimators/columns.py",
        "_share(codes[:, j] == MISSING)",
        "_share(codes[:, 0] == MISSING)",
        EXPLAINED,
    ),
    Break(
        "a set may lack the most probable class",
        "estimators/sets.py",
        "probability.argmax(axis=1)] = True",
        "probability.argmax(axis=1)] |= False",
        SETS,
    ),
    # long histories
    Break(
        "events are dropped at predict",
        "network/dropout.py",
        "if not self.training or bool((shares == 1).all()):",
        "if bool((shares == 1).all()):",
        "tests/network/test_event_dropout.py",
    ),
    Break(
        "events of a pattern are dropped too",
        "network/history.py",
        "kept = history if self.by_category is None else self.event_dropout(history)",
        "kept = self.event_dropout(history)",
        "tests/network/test_event_dropout.py",
    ),
    Break(
        "a few events have the prior of many",
        "fitting/networks.py",
        "return FEW_EVENTS / max(float(counts.sum()) / n_rows, FEW_EVENTS)",
        "return FEW_EVENTS / (float(counts.sum()) / n_rows)",
        "tests/fitting/test_recipe.py",
    ),
    Break(
        "the last epochs of long histories anneal",
        "fitting/recipe.py",
        "falls=not self._is_long or self.validation is None,",
        "falls=True,",
        "tests/fitting/test_recipe.py",
    ),
    Break(
        "a value in a bin has the vector of the whole bin",
        "network/numbers.py",
        "below = of_bin.cumsum(1) - of_bin",
        "below = of_bin.cumsum(1)",
        "tests/network/test_numbers.py",
    ),
    Break(
        "a frequent category counts more than a rare one",
        "network/history.py",
        ".index_add(0, group_of, hidden) / counts",
        ".index_add(0, group_of, hidden)",
        "tests/network/test_by_category.py",
    ),
    # items and walks
    Break(
        "drift: a rare category of training is unseen by chance, and not expected",
        "drift/shifts.py",
        "counts[counts < least + 1].sum()",
        "0.0",
        f"{DRIFT}::test_the_expected_share_of_unseen_categories_is_found",
    ),
    Break(
        "drift: the tests of a report are not corrected for their number",
        "drift/shifts.py",
        "factors = len(order) - np.arange(len(order))",
        "factors = np.ones(len(order))",
        f"{DRIFT}::test_corrected_p_values_are_those_of_holm",
    ),
    Break(
        "drift: bins of numbers are taken together by the later values",
        "drift/shifts.py",
        "(_bins_together if is_number else _rare_together)",
        "_rare_together",
        f"{DRIFT}::test_shifts_of_numbers_have_uniform_p_values",
    ),
    Break(
        "drift: the events of an entity count as many rows",
        "fitting/profiles.py",
        "return np.asarray(counted / np.maximum(sizes[groups], 1))",
        "return counted",
        f"{DRIFT}::test_events_count_by_entity",
    ),
    Break(
        "answers of one entity count as independent",
        "data/clustering.py",
        "        return np.asarray(1 / (1 + (sizes - 1) * self.correlations[t]))",
        "        return np.ones(n_levels)",
        f"{DRIFT}::test_answers_of_an_entity_count_as_far_as_they_differ",
    ),
    Break(
        "the rows that find the axes of vectors are their profile too",
        "drift/vectors.py",
        "profile.numbers(vectors[~is_first])\n        profile.profiles = [Profile.of_numbers("
        "column, weights[~is_first])",
        "profile.numbers(vectors[is_first])\n        profile.profiles = [Profile.of_numbers("
        "column, weights[is_first])",
        f"{DRIFT}::test_chance_alone_changes_no_vectors",
    ),
    Break(
        "levels that have moved count for the common change",
        "data/moved.py",
        "        stayed[clearest[leaves], responses[leaves]] = False\n",
        "        break\n",
        f"{DRIFT}::test_a_level_that_moves_far_does_not_move_the_others",
    ),
    Break(
        "drift: a common change of all levels counts as theirs",
        "data/moved.py",
        "change = change - (change * weights).sum(0) / weights.sum(0)",
        "pass",
        f"{DRIFT}::test_the_mean_of_a_number_is_in_its_unit",
    ),
    # new categories
    Break(
        "new categories have no expected effect",
        "estimators/base.py",
        "            inputs = self._newcomers.read(inputs, frame)\n",
        "",
        f"{PLACING}::test_new_categories_are_placed_by_their_text",
    ),
    Break(
        "descriptions of no category of the column pass",
        "fitting/placing.py",
        "        _check_match(name, alike, labels)\n",
        "",
        f"{PLACING}::test_descriptions_are_checked_before_the_training",
    ),
    Break(
        "pairs: a sampled softmax does not correct for how often an item is drawn",
        "unsupervised/objective.py",
        "(scores - negatives.log_expected)",
        "scores",
        f"{PAIRS}::test_sampled_softmax_estimates_the_sum_over_all_items",
    ),
    Break(
        "pairs: popular negatives are said to be drawn as often as any",
        "unsupervised/negatives.py",
        "(self.draws.share[items] * m).log().float()",
        "torch.zeros(m)",
        f"{PAIRS}::test_sampler_draws_by_the_power_of_the_counts",
    ),
    Break(
        "pairs: an item that a user has counts as a negative",
        "unsupervised/negatives.py",
        "known[rows[slots >= 0], slots[slots >= 0]] = True",
        "pass",
        f"{PAIRS}::test_known_pairs_are_those_of_a_full_table",
    ),
    Break(
        "pairs: the columns of items are read in the order of the frame",
        "unsupervised/sides.py",
        "order = np.argsort(places)",
        "order = np.arange(len(places))",
        f"{PAIRS}::test_new_users_and_items_from_their_columns",
    ),
    Break(
        "items: the order of sets counts",
        "unsupervised/corpus.py",
        "lists.as_sets().in_canonical_order() if self.sets",
        "lists.as_sets() if self.sets",
        f"{ITEMS}::test_the_order_of_sets_and_of_their_items_changes_nothing",
    ),
    Break(
        "items: sets are not shuffled, so that a window holds their first items",
        "unsupervised/items.py",
        "shuffle=np.random.default_rng(seed) if self._is_set else None",
        "shuffle=None",
        f"{ITEMS}::test_planted_groups_are_found {ITEMS}::test_the_order_of_a_set_is_drawn_anew",
    ),
    Break(
        "items: the learning rate stays",
        "unsupervised/item_training.py",
        "(self.learning_rate - last) * share",
        "0 * share",
        f"{ITEMS}::test_a_sequence_is_trained_as_bare_gensim_trains_it",
    ),
    Break(
        "items: added items move the contexts of others",
        "unsupervised/items.py",
        "trainer.vectors[:n_known], trainer.contexts[:n_known] = start.vectors, start.contexts",
        "trainer.vectors[:n_known] = start.vectors",
        f"{ITEMS}::test_added_items_find_their_group_and_move_no_other",
    ),
    Break(
        "items: added items are trained on random vectors of the others",
        "unsupervised/items.py",
        "order = np.argsort(ranks_of(self.vocabulary_)[N_SPECIAL:])",
        "order = np.arange(n_known)",
        f"{ITEMS}::test_added_items_find_their_group_and_move_no_other",
    ),
    Break(
        "items: an untrained item has a random vector",
        "unsupervised/items.py",
        "trainer.vectors * trained[:, None]",
        "trainer.vectors",
        f"{ITEMS}::test_rare_items_and_items_that_stand_alone_are_counted",
    ),
    Break(
        "items: predictions forget that frequent items are negatives more often",
        "unsupervised/items.py",
        "settings.negative_exponent * np.log(counts) - np.log(share)",
        "0 * np.log(counts)",
        f"{ITEMS}::test_predicted_is_how_often_an_item_stands_beside_another",
    ),
    Break(
        "items: predictions forget that frequent items are thinned",
        "unsupervised/items.py",
        "settings.negative_exponent * np.log(counts) - np.log(share)",
        "settings.negative_exponent * np.log(counts) + 0 * share",
        f"{ITEMS}::test_predicted_is_how_often_an_item_stands_beside_another",
    ),
    Break(
        "items: a log is read in the order of its rows",
        "unsupervised/item_sources.py",
        "np.lexsort((TimeAxis.of(times, names.time).read(times, names.time), codes))",
        "np.argsort(codes, kind='stable')",
        f"{ITEMS}::test_a_log_is_read_in_the_order_of_its_times",
    ),
    Break(
        "items: the last item of a list and the first of the next are a pair",
        "unsupervised/item_quality.py",
        "following[last] = lists.offsets[:-1][lists.lengths > 0]",
        "following[last] = np.minimum(last + 1, len(following) - 1)",
        f"{ITEMS}::test_a_set_pairs_its_last_item_with_its_first",
    ),
    Break(
        "items: the held-out pair is trained on",
        "unsupervised/tuning.py",
        "is_kept[last] = False",
        "is_kept[last] = True",
        "tests/unsupervised/test_tuning.py::test_held_out_pairs_are_not_trained_on",
    ),
    Break(
        "items: no negative comes from the group",
        "unsupervised/kernel.py",
        "for _ in range(n_negatives if size else 0):",
        "for _ in range(0):",
        f"{GROUPS}::test_negatives_of_the_group_spread_the_items_of_a_group",
    ),
    Break(
        "items: the goal is no context",
        "unsupervised/kernel.py",
        "if goals[row] >= 0 and goals[row] != center:",
        "if goals[row] >= 2**30:",
        f"{GROUPS}::test_the_goal_is_context_of_each_position_and_no_item_of_the_list",
    ),
    Break(
        "walks: the excess of a return is dropped",
        "unsupervised/walks.py",
        "excess = np.where(back >= 0, (1 / p - most) * weights, 0.0)",
        "excess = np.where(back >= 0, 0.0 * weights, 0.0)",
        WALKS,
    ),
    Break(
        "walks: a return is drawn where no edge leads back",
        "unsupervised/walks.py",
        "excess = np.where(back >= 0, (1 / p - most) * weights, 0.0)",
        "excess = (1 / p - most) * weights",
        f"{WALKS}::test_directed_walks_follow_the_direction_and_end",
    ),
    Break(
        "walks: distances are from the candidate, not to it",
        "unsupervised/walks.py",
        "self.arcs(last, drawn) >= 0",
        "self.arcs(drawn, last) >= 0",
        f"{WALKS}::test_directed_walks_follow_the_direction_and_end",
    ),
    Break(
        "walks: weights do not count",
        "unsupervised/walks.py",
        "if self.weights is None:\n            arcs =",
        "if True:\n            arcs =",
        WALKS,
    ),
    Break(
        "walks: start in the order of the nodes",
        "unsupervised/walks.py",
        "rng.permutation(np.tile(np.arange(graph.n_nodes, dtype=np.int32), n_walks))",
        "np.tile(np.arange(graph.n_nodes, dtype=np.int32), n_walks)",
        f"{WALKS}::test_walks_start_at_each_node_in_random_order_and_isolated_nodes_stay",
    ),
    Break(
        "texts: effects of words include the row's own target",
        "data/words.py",
        "sums = self.sums[part.positions] - np.stack(fold_sums, axis=1)",
        "sums = self.sums[part.positions]",
        f"{WORDS}::test_a_row_reads_the_targets_of_the_other_folds_alone",
    ),
    Break(
        "texts: the last word of a text and the first of the next one are neighbours",
        "data/words.py",
        "is_known[:-1] & is_known[1:] & (rows[:-1] == rows[1:])",
        "is_known[:-1] & is_known[1:]",
        f"{WORDS}::test_only_neighbours_are_pairs_and_only_within_a_text",
    ),
    Break(
        "texts: the last word counts more than the others",
        "network/history.py",
        "        self.dim = 3 * d_history",
        "        self.dim = 4 * d_history",
        f"{TEXTS}::test_the_order_of_words_matters_by_their_pairs_alone",
    ),
    Break(
        "vectors: a coordinate may be infinite",
        "data/vectors.py",
        "    _check_finite(present, rows, name)",
        "    pass",
        VECTORS,
    ),
    Break(
        "vectors: training hides none",
        "network/vectors.py",
        "if self.training and rate:",
        "if False:",
        "tests/network/test_vectors.py",
    ),
    Break(
        "candidates: sampled classes are not corrected by how often they are drawn",
        "fitting/objective.py",
        "outputs, y = outputs - sample.log_chance, sample.places",
        "outputs, y = outputs - 0 * sample.log_chance, sample.places",
        f"{CANDIDATES}::test_a_sample_of_the_classes_ranks_as_well_as_all_of_them",
    ),
    Break(
        "candidates: the age of an example is that of the prediction",
        "fitting/event_source.py",
        "np.zeros(frame.num_rows) if ages is None else ages",
        "np.zeros(frame.num_rows)",
        f"{CANDIDATES}::test_with_the_age_of_examples_an_item_that_has_become_frequent_is_ranked_first",
    ),
    Break(
        "candidates: classes of update are not noted",
        "data/seen.py",
        "self.last[codes] = places[ends]",
        "self.last[codes] = np.where(self.last[codes] < 0, places[ends], self.last[codes])",
        f"{CANDIDATES}::test_what_an_entity_has_had_is_not_recommended",
    ),
    Break(
        "index: vectors keep the number that all share",
        "spaces/index.py",
        "self.vectors = (space.vectors - self.mean).astype(np.float32)",
        "self.vectors, self.mean = space.vectors, 0 * self.mean",
        "tests/spaces/test_index.py::test_an_index_finds_the_largest_products_of_vectors_with_a_shared_bias",
    ),
    Break(
        "growth: the sums of the earlier rows are lost",
        "data/shrinkage.py",
        "all_counts[old], all_sums[old] = counts, sums",
        "all_counts[old] = counts",
        GROWTH,
    ),
    Break(
        "growth: vectors are pulled to zero and not to yesterday's",
        "network/tables.py",
        "Anchor(group.weight.detach().clone(),",
        "Anchor(torch.zeros_like(group.weight),",
        GROWTH,
    ),
    Break(
        "growth: the rows of before do not hold a category",
        "fitting/nights.py",
        "prior * (1 + HOLD * worth)",
        "prior * (1 + 0 * worth)",
        GROWTH,
    ),
    Break(
        "growth: each night finds new axes",
        "fitting/nights.py",
        "None if self._has_new_outputs else axes)",
        "None)",
        GROWTH,
    ),
    Break(
        "labels of highlighted categories are dropped in a crowd",
        "spaces/maps.py",
        "(*REACHES, *FAR) if i in bold else REACHES",
        "REACHES",
        "tests/spaces/test_maps.py",
    ),
    Break(
        "growth: a space counts as a version of any other",
        "spaces/versions.py",
        "if not n or space.ancestry[:n] != older.ancestry or space.name != older.name:",
        "if False:",
        "tests/spaces/test_versions.py",
    ),
    Break(
        "replay: a kept row counts as one row",
        "fitting/replay.py",
        "kept.weights * kept.n_stood_for",
        "kept.weights",
        REPLAY,
    ),
    Break(
        "replay: new rows push out old ones",
        "fitting/replay.py",
        "np.sort(np.argpartition(self.priorities, n_most)[:n_most])",
        "np.arange(n_most)",
        REPLAY,
    ),
    Break(
        "replay: effects of kept rows hold their targets",
        "fitting/nights.py",
        "rows.responses, rows.weights, texts=texts",
        "rows.responses, 0 * rows.weights, texts=texts",
        REPLAY,
    ),
    Break(
        "replay: rows that surprise train no longer than others",
        "fitting/nights.py",
        "max(self._share_of_new, self.surprise.lost)",
        "self._share_of_new",
        REPLAY,
    ),
    Break(
        "replay: trees stay those of the first fit",
        "fitting/nights.py",
        "if self._is_large and not self._has_new_outputs:",
        "if False:",
        REPLAY,
    ),
    Break(
        "replay: the axes of spaces keep no scale",
        "fitting/responses.py",
        "return np.asarray(self.axes * slopes)",
        "return self.axes",
        "tests/fitting/test_responses.py",
    ),
    Break(
        "trees: training rows read the scores of trees that saw them",
        "fitting/trees.py",
        "for booster, (train, held) in zip(boosters, splits):",
        "for booster, (train, held) in zip(boosters[1:] + boosters[:1], splits):",
        "tests/fitting/test_trees.py",
    ),
    Break(
        "trees: no cells are hidden from them",
        "fitting/trees.py",
        "MOST_HIDDEN, N_HIDDEN = 0.01, 0.02, 100",
        "MOST_HIDDEN, N_HIDDEN = 0.0, 0.0, 0",
        "tests/fitting/test_trees.py",
    ),
    Break(
        "time: rows of one moment have several weights",
        "fitting/recency.py",
        'rankdata(moments, "max")',
        'rankdata(moments, "ordinal")',
        "tests/fitting/test_recency.py",
    ),
    Break(
        "combinations: chance decides",
        "data/combinations.py",
        "CHANCE = 5.0",
        "CHANCE = 0.0",
        "tests/data/test_combinations.py",
    ),
    # ONNX files
    Break(
        "a bound of a bin is rounded up in an ONNX file",
        "saving/onnx/effects.py",
        "np.nextafter(single, np.float32(-np.inf)), single)",
        "single, np.nextafter(single, np.float32(np.inf)))",
        f"{ONNX}::test_numbers_at_and_beside_the_edges_of_bins_lie_in_the_same_bin",
    ),
    Break(
        "an ONNX file reads the first event of a row as the last one",
        "saving/onnx/padded.py",
        'final = graph.add("Max", graph.add("Sub", lengths, one), zero)',
        'final = graph.add("Min", graph.add("Sub", lengths, one), zero)',
        f"{ONNX}::test_a_graph_reads_padded_histories_and_vectors",
    ),
    Break(
        "an ONNX file reads later categories as those that trees know",
        "saving/onnx/trees.py",
        "graph.constant(column.values[known])",
        "graph.constant(column.values)",
        "tests/saving/test_onnx_parts.py",
    ),
    Break(
        "an ONNX file counts the events of all categories as encounters",
        "saving/onnx/log.py",
        'return graph.add("And", same, self.padded.is_event)',
        "return self.padded.is_event",
        "tests/saving/test_onnx_events.py::test_the_events_of_an_entity_give_the_prediction_of_its_kept_state",
    ),
    Break(
        "a level that is not known has the position of the largest one",
        "data/level_index.py",
        "highest = of_levels.max(0, initial=0) + 2",
        "highest = of_levels.max(0, initial=0) + 1",
        "tests/data/test_level_index.py",
    ),
    Break(
        "files: a row group lies in memory as a whole",
        "scoring/parts.py",
        "buffer_size=_PARQUET_BUFFER, pre_buffer=False",
        "pre_buffer=True",
        f"{PREDICT}::test_memory_does_not_grow_with_the_file",
    ),
    Break(
        "files: a warning of unseen categories for each batch",
        "estimators/checked.py",
        "        cells = collected()",
        "        cells = None",
        f"{PREDICT}::test_one_warning_of_unseen_categories_for_all_batches",
    ),
    Break(
        "files: columns may be missing in later parts",
        "scoring/parts.py",
        "    for part in parts:\n        for name in (*columns",
        "    for part in parts[:1]:\n        for name in (*columns",
        f"{PREDICT}::test_a_bad_file_is_named_and_nothing_is_written",
    ),
    Break(
        "hashed rows: of equally frequent categories the last ones stay",
        "data/hashing.py",
        'np.argsort(-counts[new], kind="stable")',
        'np.argsort(counts[new], kind="stable")[::-1]',
        HASHING,
    ),
    Break(
        "hashed rows: floats have another hash than whole numbers",
        "data/hashing.py",
        "hashes = hashes_of(values.cast(dtype))",
        "hashes = hashes_of(values)",
        HASHING,
    ),
    Break(
        "hashed rows: their counts are lost as a table grows",
        "data/vocabulary.py",
        " + (of_hashed if len(of_hashed) else 0.0)",
        "",
        HASHING,
    ),
    Break(
        "half precision: sums are rounded down",
        "network/halves.py",
        "noise.random_(0, 2**_LOST_BITS, generator=generator(values.device))",
        "noise.zero_()",
        "tests/network/test_halves.py",
    ),
    Break(
        "half precision: updates are counted in it",
        "training/average.py",
        "torch.zeros(len(weight), device=weight.device)",
        "weight.new_zeros(len(weight))",
        "tests/network/test_halves.py",
    ),
    Break(
        "streams: a killed fit keeps what was written after the last record",
        "fitting/encoded_rows.py",
        "            file.truncate(size)\n",
        "            pass\n",
        "tests/estimators/test_streams.py::test_an_interrupted_fit_goes_on_where_it_was",
    ),
    Break(
        "streams: sums depend on the order of the rows",
        "data/term_sums.py",
        "np.rint(responses / self.step) * self.step",
        "responses",
        "tests/data/test_term_sums.py",
    ),
    Break(
        "streams: the sample is in the order of its keys",
        "fitting/stream_recipe.py",
        'return np.argsort(self.encoded.origins, kind="stable")',
        "return np.arange(len(self.encoded.origins))",
        "tests/estimators/test_streams.py::test_a_stream_and_a_frame_give_the_same_parts",
    ),
    Break(
        "streams: other columns in later files become missing",
        "data/streams.py",
        "    _check_alike(dataset)\n",
        "",
        "tests/estimators/test_streams.py::test_a_source_that_is_not_there_is_refused",
    ),
    # several workers
    Break(
        "gradients of workers count alike, whatever their rows",
        "training/workers.py",
        "out=self._vector_for(parts)).mul_(n_rows)",
        "out=self._vector_for(parts))[:].mul_(1)",
        WORKERS,
    ),
    Break(
        "rows of sparse tables are those of one worker",
        "training/workers.py",
        "_packed(rows, values * share)",
        "_packed(rows, values)",
        WORKERS,
    ),
    Break(
        "each worker weighs the prior by its piece of the batch",
        "fitting/objective.py",
        "if isinstance(noise, Tensor):",
        "if False:",
        WORKERS,
    ),
    Break(
        "workers drop the same units",
        "network/randomness.py",
        "        if rank:",
        "        if False:",
        WORKERS,
    ),
    Break(
        "each worker has a clock",
        "training/loop.py",
        "bool(current().agreed(is_over)) if can_be else is_over",
        "is_over",
        WORKERS,
    ),
    # devices
    Break(
        "tables that do not fit on a device are moved to it",
        "network/tables.py",
        "return self if self.stays else super()._apply(fn, recurse)",
        "return super()._apply(fn, recurse)",
        "tests/test_devices.py::test_sequences",
    ),
    Break(
        "reference rows are looked up from the CPU, wherever they lie",
        "fitting/sources.py",
        "inputs.take(rows.to(inputs.device))",
        "inputs.take(rows)",
        "tests/test_devices.py::test_one_seed_gives_one_model",
    ),
    Break(
        "tables take all memory of a device, and a step finds none",
        "network/devices.py",
        "left = SHARE * free - ",
        "left = free - ",
        "tests/network/test_devices.py",
    ),
    Break(
        "a model of a GPU is refused where there is none",
        "saving/packing.py",
        'model.set_params(device="cpu")',
        "pass",
        "tests/saving/test_elsewhere.py",
    ),
    # the page of a comparison
    Break(
        "rarity: a row counts by its commonest category",
        "compare/columns.py",
        "np.min(frequencies, axis=0)",
        "np.max(frequencies, axis=0)",
        COMPARED,
    ),
    Break(
        "rarity: ids make every row unseen",
        "compare/columns.py",
        "np.mean(n == 0) < _ALL_UNSEEN",
        "True",
        COMPARED,
    ),
    Break(
        "importances: nothing is shuffled",
        "compare/details.py",
        "X.iloc[order, position].array",
        "X.iloc[:, position].array",
        COMPARED,
    ),
    Break(
        "calibration: the probability of the other class",
        "compare/details.py",
        "predictions[:, -1], (",
        "predictions[:, 0], (",
        COMPARED,
    ),
    Break(
        "calibration: folds are not pooled",
        "compare/stored.py",
        '.sort_values("predicted", kind="stable")',
        "",
        COMPARED,
    ),
    Break(
        "errors of a fit count the rows of its fold",
        "compare/row_names.py",
        "row = int(rows[row])",
        "row = int(row)",
        "tests/compare/test_command.py::test_errors_name_the_line_of_the_file",
    ),
    Break(
        "a comparison that fails leaves its folder",
        "compare/outputs.py",
        "shutil.rmtree(folder, ignore_errors=True)",
        "pass",
        "tests/compare/test_command.py",
    ),
    Break(
        "figures of the page keep the colours of light windows",
        "compare/themes.py",
        'f"var(--{variable})"',
        "colour",
        "tests/compare/test_page.py",
    ),
    Break(
        "a parameter is not described",
        "unsupervised/walks.py",
        "    length : int, default=80\n",
        "    size : int, default=80\n",
        "tests/test_docs.py",
    ),
    Break(
        "a public name is not in the reference",
        "distributed/__init__.py",
        '__all__ = ["fit", "workers"]',
        '__all__ = ["fit", "workers", "group"]',
        "tests/test_docs.py",
    ),
]


def check_places(breaks: list[Break]) -> None:
    """Exit unless the text of every break is in its file exactly once."""
    for planted in breaks:
        n_places = (ROOT / "tabemb" / planted.file).read_text().count(planted.old)
        if n_places != 1:
            sys.exit(f"{planted.file} has {planted.old!r} {n_places} times, not once ({planted.name}).")


def first_red(copy: Path, tests: list[str]) -> str | None:
    """Return the first test that fails in the copy, or None if all pass."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TABEMB_SLOW": "1"}
    command = [sys.executable, *PYTEST, *tests]
    run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if run.returncode not in (GREEN, RED):
        sys.exit(f"{' '.join(tests)} cannot run.\n{run.stdout}{run.stderr}")
    if run.returncode == GREEN:
        return None
    report = next(line for line in run.stdout.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    return report.split(" - ")[0].split(" ", 1)[1]


def main(words: list[str]) -> None:
    """Plant all breaks, or those whose names contain one of the words; exit with 1 if one survives."""
    breaks = [b for b in BREAKS if not words or any(word in b.name for word in words)]
    check_places(breaks)
    alive, begin = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tabemb"
        left_out = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=left_out)
        red = first_red(copy, sorted({test for planted in breaks for test in planted.tests.split()}))
        if red:
            sys.exit(f"{red} fails without any break.")
        for planted in breaks:
            start = time.perf_counter()
            planted.plant(copy)
            red = first_red(copy, planted.tests.split())
            planted.remove(copy)
            alive += [] if red else [planted.name]
            verdict = f"red: {red}" if red else "SURVIVES"
            print(f"{time.perf_counter() - start:4.0f} s  {planted.name}: {verdict}", flush=True)
    seconds = time.perf_counter() - begin
    print(f"{len(breaks) - len(alive)} of {len(breaks)} breaks turn a test red; {seconds:.0f} s")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
