"""Tables that `launch.import_data` knows by name: columns, target, and where they are from.

The columns are those that Friedler et al., *A comparative study of fairness-enhancing
interventions in machine learning* (2019), keep.
"""

from typing import NamedTuple


class Recipe(NamedTuple):
  """How a csv file becomes a set.

  Attributes:
    target: the column to predict.
    file: name of the csv file.
    source: where it is.
    columns: those to keep beside the target; () for all.
    missing: what to do about missing values, as in `files.read`.
  """

  target: str
  file: str
  source: str
  columns: tuple[str, ...] = ()
  missing: str = "error"


_FRIEDLER = "https://github.com/algofairness/fairness-comparison"
RECIPES = {
  # Statlog (UCI): 1,000 applicants, credit 1 (good) or 2 (bad)
  "german": Recipe("credit", "german.csv", _FRIEDLER),
  # the census of 1994 (UCI), its training half: 30,162 of 32,561 rows are complete
  "adult": Recipe(
    "income-per-year",
    "adult.csv",
    _FRIEDLER,
    (
      "age",
      "workclass",
      "education",
      "education-num",
      "marital-status",
      "occupation",
      "relationship",
      "race",
      "sex",
      "capital-gain",
      "capital-loss",
      "hours-per-week",
      "native-country",
    ),
    "drop",
  ),
  # Broward County, recidivism within two years: 6,900 of 7,214 rows are complete
  "compas": Recipe(
    "two_year_recid",
    "compas-scores-two-years.csv",
    "https://github.com/propublica/compas-analysis",
    (
      "sex",
      "age",
      "age_cat",
      "race",
      "juv_fel_count",
      "juv_misd_count",
      "juv_other_count",
      "priors_count",
      "days_b_screening_arrest",
      "c_charge_degree",
      "c_charge_desc",
    ),
    "drop",
  ),
}
