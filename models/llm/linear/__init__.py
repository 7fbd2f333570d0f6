"""The linear llm: TF-IDF features and logistic regression, trained from a team's own labelled tickets.

Everything that needs numpy, scipy, scikit-learn or skops in what serves lives in this room, and is loaded only where a
linear llm is used or trained.
"""
