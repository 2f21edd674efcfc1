"""The learners behind other libraries' interfaces, each with an extra of its own:

- `models.estimators.sklearn` (extra `sklearn`): `AMClassifier`, `AMRegressor`
- `models.estimators.river` (extra `river`): `RiverAMClassifier`, `RiverAMRegressor`

Nothing else in `models` imports scikit-learn or river, and `import models` needs neither.
"""
