"""
Events: the answer follows from what came before
================================================

Each student answers exercises one after another, and knows more of a subject after each answer.
``EventClassifier`` reads the earlier events of the same student, while ``EmbeddingClassifier`` sees each
event alone. The data are simulated, so the true probabilities are known.
"""

import numpy as np
import pandas as pd

from tabemb import EmbeddingClassifier, EventClassifier

rng = np.random.default_rng(0)
rows = []
for student in range(240):
    skill = dict.fromkeys(["sums", "roots", "sets"], rng.normal(-1.2, 1.0))
    for at in range(25):
        subject = rng.choice(list(skill))
        probability = 1 / (1 + np.exp(-skill[subject]))
        rows.append((student, at, subject, probability, rng.random() < probability))
        skill[subject] += 0.35
log = pd.DataFrame(rows, columns=["student", "at", "subject", "probability", "right"])
train, test = log[log["student"] < 180], log[log["student"] >= 180]
columns = ["student", "at", "subject"]

# %%
# Test students are new to both models. ``replay_proba`` predicts each event from the events before it.

events = EventClassifier(entity="student", time="at", max_epochs=15, random_state=0)
events.fit(train[columns], train["right"])
by_events = events.replay_proba(test[columns], test["right"])[:, 1]
known = ["at", "subject"]
alone = EmbeddingClassifier(trees=False, max_epochs=15, random_state=0)
by_rows = alone.fit(train[known], train["right"]).predict_proba(test[known])[:, 1]

# %%
# The more answers a student has given, the more the events help. For the first answer of a student
# there are no earlier events, so they cannot help.

from sklearn.metrics import log_loss

part = pd.cut(test["at"], [-1, 2, 7, 14, 24], labels=["1-3", "4-8", "9-15", "16-25"])
forecasts = pd.DataFrame(
    {"rows alone": by_rows, "events": by_events, "true probabilities": test["probability"]}
)
losses = pd.DataFrame(
    {
        answers: {
            name: log_loss(test["right"][part == answers], p[part == answers])
            for name, p in forecasts.items()
        }
        for answers in part.cat.categories
    }
).T
print(losses.round(3))
axes = losses.plot(figsize=(7.5, 3.6), marker="o", color=["0.6", "tab:blue", "tab:green"])
axes.set(xlabel="answer of the student", ylabel="log loss")
axes.set_xticks(range(4), losses.index)
axes.legend(frameon=False)
axes.figure.tight_layout()
