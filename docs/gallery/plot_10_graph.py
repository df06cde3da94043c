"""
Nodes of a graph
================

Random walks turn a graph into lists, and nodes that occur in the same lists get similar vectors
(DeepWalk). The graph is the karate club of Zachary (1977), which networkx ships: 34 members and
their friendships. After a quarrel the club split, and it is known who went with whom. The vectors
are learned without this information.
"""

import networkx as nx
import pandas as pd

from tabemb import ItemEmbedder, random_walks

club = nx.karate_club_graph()
edges = pd.DataFrame(list(club.edges), columns=["source", "target"])
side = pd.Series({node: club.nodes[node]["club"] for node in club}, name="went with")
walks = random_walks(edges, n_walks=80, length=40, random_state=0)
space = ItemEmbedder(dim=16, max_epochs=3, random_state=0).fit(walks).space_

# %%
# The map shows the members, coloured by whom they went with. Member 0 is the teacher, member 33 the
# head of the club.

figure = space.map(
    color=side, method="pca", highlight=[0, 33], title="Members of the karate club", figsize=(8, 5.5)
)

# %%
# The nearest neighbours of the teacher:

space.nearest(0, k=5).assign(side=lambda frame: frame["category"].map(side))
