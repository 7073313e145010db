"""Groups of people in a table, and a generator of tables with two sensitive attributes."""

import numpy as np
import pytest

from lib import data
from lib.data import recipes, sensitive, synthetic
from lib.experiment.errors import UserError

NAMES = ("age", "race=Black", "race=Other", "race=White", "children")
TABLE = np.array(
  [[25, 1, 0, 0, 0], [24, 0, 0, 1, 2], [60, 0, 1, 0, 2], [30, 0, 0, 1, 1]], np.float32
)


def test_groups_by_value_by_list_and_by_limit():
  race = sensitive.attribute(TABLE, NAMES, "race")
  assert race.codes.tolist() == [0, 2, 1, 2]
  assert race.names == ("race=Black", "race=Other", "race=White") and race.columns == (1, 2, 3)
  some = sensitive.attribute(TABLE, NAMES, "race=White/Black")
  assert some.codes.tolist() == [1, 0, 2, 0]
  assert some.names == ("race=White", "race=Black", "race=other")
  both = sensitive.attribute(TABLE, NAMES, "race=Black|Other")
  assert both.codes.tolist() == [0, 1, 0, 1]
  age = sensitive.attribute(TABLE, NAMES, "age>=25")
  assert age.codes.tolist() == [1, 0, 1, 1] and age.columns == (0,)
  numbers = sensitive.attribute(TABLE, NAMES, "children")
  assert numbers.codes.tolist() == [0, 2, 2, 1]
  every = sensitive.attribute(TABLE, NAMES, "race=White/Black/Other")
  assert every.names[-1] == "race=Other"  # nobody is left over


def test_intersections():
  attributes = [sensitive.attribute(TABLE, NAMES, t) for t in ("age>=25", "race=White")]
  codes, names = sensitive.intersect(attributes)
  assert codes.tolist() == [3, 0, 3, 2]
  assert names[2] == "age>=25, race=White" and len(names) == 4


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("rase", "race"),
    ("race=Wite", "White"),
    ("age>=old", "comparison"),
    ("race>=3", "categories"),
    ("children=1", "children>=number"),
  ],
)
def test_what_cannot_be_read_is_said(text, message):
  with pytest.raises(UserError, match=message):
    sensitive.attribute(TABLE, NAMES, text)


def test_the_generator_s_posterior_is_true():
  """Labels in bins of the posterior, for each of the six groups."""
  task = synthetic.unequal_groups(0)
  x, y = task.sample(np.random.default_rng(0), 200_000)
  p = task.posterior(x)[:, 1]
  groups = x[:, :2].argmax(1) * 3 + x[:, 2:5].argmax(1)
  assert set(groups) == set(range(6))
  for g in range(6):
    for low in np.arange(0, 1, 0.1):
      inside = (groups == g) & (p >= low) & (p < low + 0.1)
      if (count := inside.sum()) > 100:
        error = y[inside].mean() - p[inside].mean()
        assert abs(error) < 5 * (p[inside] * (1 - p[inside])).mean() ** 0.5 / count**0.5
  best = np.maximum(p, 1 - p).mean()
  assert task.bayes == pytest.approx(best, abs=0.005)
  assert ((p > 0.5) == y).mean() == pytest.approx(task.bayes, abs=0.005)


def test_difficulty_runs_from_none_to_nothing_to_learn():
  accuracies = [synthetic.unequal_groups(0, d).bayes for d in (0.0, 0.3, 0.6, 0.99)]
  assert accuracies[0] > 0.999 and accuracies == sorted(accuracies)[::-1]
  free = synthetic.unequal_groups(0, 0.5, shift=0.0, gap=0.0, bias=0.0)
  x, _ = free.sample(np.random.default_rng(0), 5000)
  other = x.copy()
  other[:, :5] = np.roll(x[:, :5], 1, axis=0)
  flat = synthetic.unequal_groups(0, 0.5, shift=0.0, gap=0.0, bias=0.0, proxy=0.0)
  # without any of the four, the attributes tell nothing
  np.testing.assert_allclose(flat.posterior(x), flat.posterior(other))
  for options in ({"dim": 2}, {"bias": 2.0}, {"gap": -1.0}):
    with pytest.raises(ValueError, match="needs"):
      synthetic.unequal_groups(0, **options)


def test_it_is_a_table_with_names():
  found = data.load("synthetic:unequal_groups?n_train=50&n_test=0&dim=4")
  assert found.info.feature_names == (
    "a=0",
    "a=1",
    "b=0",
    "b=1",
    "b=2",
    "x0",
    "x1",
    "x2",
    "x3",
  )
  assert found.train.inputs.shape == (50, 9) and found.test is None


def test_a_missing_table_names_its_file_and_the_command(tmp_path):
  for name, recipe in recipes.RECIPES.items():
    with pytest.raises(UserError) as error:
      data.load(f"tfds:{name}", data_dir=tmp_path)
    text = str(error.value)
    assert f"launch.import_data {name} {recipe.file}`" in text and recipe.source in text


# Tiny files with the official headers, in their order; values of no real person.
HEADERS = {
  "german": (
    "status month credit_history purpose credit_amount savings employment "
    "investment_as_income_percentage personal_status other_debtors residence_since property "
    "age installment_plans housing number_of_credits skill_level people_liable_for telephone "
    "foreign_worker credit"
  ),
  "adult": (
    "age workclass fnlwgt education education-num marital-status occupation relationship race "
    "sex capital-gain capital-loss hours-per-week native-country income-per-year"
  ),
  "compas": (
    "id name first last compas_screening_date sex dob age age_cat race juv_fel_count "
    "decile_score juv_misd_count juv_other_count priors_count days_b_screening_arrest "
    "c_charge_degree c_charge_desc is_recid decile_score score_text priors_count event "
    "two_year_recid"
  ),
}
TEXTS = {
  "personal_status": ("A91", "A92", "A93", "A95"),
  "status": ("A11", "A12"),
  "credit": ("1", "2"),
  "workclass": ("Private", "State-gov"),
  "race": ("White", "Black", "Other", "Asian-Pac-Islander"),
  "sex": ("Male", "Female"),
  "income-per-year": ("<=50K", ">50K"),
  "name": ("nobody", "no one"),
  "age_cat": ("25 - 45", "Less than 25"),
  "c_charge_degree": ("F", "M"),
  "c_charge_desc": ("Battery", "Theft", ""),
  "two_year_recid": ("0", "1"),
  "dob": ("",),
}


def write_table(folder, name, rows=120, seed=0):
  """A csv file as `launch.import_data NAME` takes it."""
  rng = np.random.default_rng(seed)
  columns = HEADERS[name].split()
  lines = [",".join(columns)]
  for _ in range(rows):
    lines.append(
      ",".join(
        str(rng.choice(TEXTS[c])) if c in TEXTS else str(rng.integers(-40, 60))
        for c in columns
      )
    )
  path = folder / recipes.RECIPES[name].file
  path.write_text("\n".join(lines) + "\n")
  return path


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_known_tables_need_no_options(name, tmp_path, capsys):
  pytest.importorskip("tensorflow_datasets")
  from launch import import_data

  path = write_table(tmp_path, name)
  assert import_data.main([name, str(path), f"--data_dir={tmp_path}"]) == 0
  found = data.load(f"tfds:{name}", data_dir=tmp_path)
  columns = {f.partition("=")[0] for f in found.info.feature_names}
  recipe = recipes.RECIPES[name]
  expected = set(recipe.columns) or set(HEADERS[name].split()) - {recipe.target}
  assert columns == expected
  assert found.train.size == 120 if name != "compas" else found.train.size < 120
  assert found.info.class_names == TEXTS[recipe.target]


def test_keep_takes_only_these_columns(tmp_path):
  pytest.importorskip("tensorflow_datasets")
  from launch import import_data

  path = write_table(tmp_path, "adult")
  options = ["--target=income-per-year", "--keep=sex,age", f"--data_dir={tmp_path}"]
  assert import_data.main(["wages", str(path), *options]) == 0
  found = data.load("tfds:wages", data_dir=tmp_path)
  assert found.info.feature_names == ("age", "sex=Female", "sex=Male")
