"""Tables with gaps: encodings by hand and against scikit-learn, the generator's posterior."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import data
from lib.data import tables
from lib.experiment import UserError


def small():
  columns = {
    "size": [1.0, 3.0, None, 5.0, 100.0],
    "colour": ["red", "?", "blue", "red", "green"],
    "code": [10, 2, 2, 10, 2],
  }
  return tables.from_columns(columns, ["b", "a", "a", "b", "a"], categorical=["code"])


def test_columns_by_hand():
  table = small()
  assert [c.numeric for c in table.columns] == [True, False, False]
  assert table.columns[1].categories == ("blue", "green", "red")
  assert table.columns[2].categories == ("2", "10")  # by value, not by text
  nan = np.nan
  expected = [[1, 2, 1], [3, nan, 0], [nan, 0, 0], [5, 2, 1], [100, 1, 0]]
  np.testing.assert_array_equal(table.values, expected)
  np.testing.assert_array_equal(table.targets, [1, 0, 0, 1, 0])
  assert table.class_names == ("a", "b")
  kind, values = tables.column(table, "code")
  assert kind.categories == ("2", "10") and values.tolist() == [1, 0, 0, 1, 0]
  assert tables.rows(table, [4, 0]).targets.tolist() == [0, 1]


def test_encoding_by_hand():
  encoded = tables.encode(small(), np.array([0, 1, 2, 3]), standardise="nothing")
  assert encoded.names[:2] == ("size", "colour=blue")
  assert encoded.names[4:] == ("colour=?", "code=2", "code=10")
  np.testing.assert_array_equal(
    encoded.inputs,
    [
      [1, 0, 0, 1, 0, 0, 1],
      [3, 0, 0, 0, 1, 1, 0],
      [3, 1, 0, 0, 0, 1, 0],  # the median of 1, 3, 5
      [5, 0, 0, 1, 0, 0, 1],
      [100, 0, 1, 0, 0, 1, 0],
    ],
  )
  both = tables.encode(small(), np.array([0, 1, 2, 3]))
  np.testing.assert_allclose(both.mean[0], 3)
  np.testing.assert_allclose(both.scale[0], np.sqrt(2))
  green = both.names.index("colour=green")  # not in the training rows
  np.testing.assert_array_equal(both.inputs[:, green], [0, 0, 0, 0, 1])


def test_encoding_is_that_of_scikit_learn():
  from sklearn.compose import ColumnTransformer
  from sklearn.impute import SimpleImputer
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import OneHotEncoder, StandardScaler

  table = tables.generate(3, 120, missing=0.1, numbers=3, categorical=2)
  (train,) = tables.random_splits([5], 120, [80])
  train = train[0]
  raw = table.values.astype(object)
  raw[:, 3:] = np.where(np.isnan(table.values[:, 3:]), 9, table.values[:, 3:])
  levels = [[0, 1, 2, 3, 9]] * 2
  pipeline = make_pipeline(
    ColumnTransformer(
      [
        ("numbers", SimpleImputer(strategy="median"), [0, 1, 2]),
        ("categories", OneHotEncoder(categories=levels, sparse_output=False), [3, 4]),
      ]
    ),
    StandardScaler(),
  ).fit(raw[train])
  found = tables.encode(table, train)
  np.testing.assert_allclose(found.inputs, pipeline.transform(raw), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_splits_are_encoded_as_alone_and_held_out_rows_say_nothing(seed):
  table = tables.generate(seed % 7, 40, missing=0.1)
  train, held = tables.random_splits([seed, seed + 1], 40, [25, 15])
  assert all(len(set(a) | set(b)) == 40 for a, b in zip(train, held, strict=True))
  both = tables.encode(table, train)
  one = tables.encode(table, train[1])
  np.testing.assert_array_equal(both.inputs[1], one.inputs)
  mask = np.zeros(40, bool)
  mask[train[1]] = True
  np.testing.assert_array_equal(tables.encode(table, mask).inputs, one.inputs)
  # training rows have mean 0, and deviation 1 or none
  seen = both.inputs[0][train[0]].astype(np.float64)
  np.testing.assert_allclose(seen.mean(0), 0, atol=1e-5)
  assert np.all((np.abs(seen.std(0) - 1) < 1e-4) | (seen.std(0) < 1e-6))
  changed = table.values.copy()
  changed[held[1][:, None], np.flatnonzero(table.numeric)] = 1e6
  again = tables.encode(table._replace(values=changed), train[1])
  np.testing.assert_array_equal(again.inputs[train[1]], one.inputs[train[1]])


def test_csv(tmp_path):
  path = tmp_path / "cars.csv"
  path.write_text("id,doors,weight,kind\n1,2,900,good\n2,?,,bad\n3,4,1100,good\n")
  table = tables.read_csv(path, "kind", drop=["id"], categorical=["doors"])
  assert table.name == "cars" and table.class_names == ("bad", "good")
  np.testing.assert_array_equal(table.values, [[0, 900], [np.nan, np.nan], [1, 1100]])
  with pytest.raises(UserError, match=r"no column 'kinds'\. Did you mean 'kind'"):
    tables.read_csv(path, "kinds")
  with pytest.raises(UserError, match="no file"):
    tables.read_csv(tmp_path / "none.csv", "kind")


def test_data_sets_as_tables():
  cancer = data.load("sklearn:breast_cancer")
  table = tables.from_dataset(cancer, columns=5)
  assert table.values.shape == (569, 5) and table.columns[4].name == "mean smoothness"
  assert tables.from_dataset(data.load("sklearn:digits")).values.shape == (1797, 64)
  with pytest.raises(ValueError, match="regression"):
    tables.from_dataset(data.load("sklearn:diabetes"))


def test_tables_by_name(tmp_path):
  table = tables.load("sklearn:digits?rows=300")
  assert table.values.shape == (300, 64) and set(table.targets) == set(range(10))
  table = tables.load("mixed:credit?seed=1&rows=69&numbers=2&categorical=3&difficulty=0.7")
  assert table.name == "credit" and table.values.shape == (69, 5)
  (tmp_path / "a.csv").write_text("id,x,class\n1,2,yes\n2,?,no\n")
  assert tables.load("csv:a.csv?drop=id", tmp_path).values.shape == (2, 1)
  for name, message in (
    ("iris", "names no table"),
    ("sklearn:wine?lines=3", "no option 'lines'"),
    ("sklearn:diabetes", "regression"),
    ("mixed:a?columns=3", "columns"),
    ("mixed:a?difficulty=1.5", "outside"),
    ("csv:b.csv", "no file"),
  ):
    with pytest.raises(UserError, match=message):
      tables.load(name, tmp_path)


def test_generated_posterior_is_calibrated_and_bounds_the_accuracy():
  """Among rows with P(y | x) in a bin that share has the class; E max P is the accuracy."""
  for step in (0.0, 0.5):
    source = tables.mixed(1, 0.6, classes=3, missing=0.1, step=step)
    values, y = source.sample(np.random.default_rng(0), 40_000)
    posterior = source.posterior(values)
    np.testing.assert_allclose(posterior.sum(1), 1)
    bins = np.minimum((posterior * 5).astype(int), 4)
    for c in range(3):
      for b in range(5):
        inside = bins[:, c] == b
        error = 4 * np.sqrt(0.25 / max(inside.sum(), 1))
        assert abs((y[inside] == c).mean() - posterior[inside, c].mean()) < error
    assert abs((posterior.argmax(1) == y).mean() - posterior.max(1).mean()) < 0.01


def test_generator_knobs():
  easy, hard = (tables.generate(0, 200, d) for d in (0.2, 0.9))
  assert easy.bayes_accuracy > hard.bayes_accuracy + 0.1
  assert easy.bayes_accuracy < 0.92 + 0.005  # 8 % of the classes are flipped
  assert 0.01 < np.isnan(easy.values).mean() < 0.03
  np.testing.assert_array_equal(easy.values, tables.generate(0, 200, 0.2).values)
  numbers = easy.values[:, easy.numeric]
  np.testing.assert_array_equal(2 * numbers, np.round(2 * numbers))


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: tables.from_columns({"a": [1]}, [1, 2]), "1 values for 2 targets"),
    (lambda: tables.from_columns({"a": [1, 2]}, [1, "?"]), "target is missing in 1"),
    (lambda: tables.from_columns({"a": ["?", None]}, [0, 1]), "no value at all"),
    (lambda: tables.from_columns({"a": [1, "inf"]}, [0, 1]), "not finite"),
    (lambda: tables.from_columns({"a": [1, 2]}, [0, 1], categorical=["b"]), "no column 'b'"),
    (lambda: tables.encode(small(), np.array([5])), "outside 0..4"),
    (lambda: tables.encode(small(), np.array([2])), "none in the training rows"),
    (lambda: tables.encode(small(), np.zeros(5, bool)), "no training rows"),
    (lambda: tables.encode(small(), np.array([0]), standardise="some"), "none of"),
    (lambda: tables.random_splits([0], 10, [8, 3]), "do not fit"),
    (lambda: tables.mixed(0, 1.0), "outside"),
    (lambda: tables.mixed(0, flips=0.5), "flips"),
  ],
)
def test_what_is_refused(call, message):
  with pytest.raises(ValueError, match=message):
    call()
