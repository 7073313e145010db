"""Projections, clusters, neighbours, class sets: against scikit-learn and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import cluster, decomposition, manifold, metrics, neighbors
from sklearn.datasets import load_digits

from lib import representations as rep

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def digits():
  """500 shuffled digits as floats, and their labels."""
  found = load_digits()
  order = np.random.default_rng(0).permutation(len(found.target))[:500]
  return found.data[order].astype(np.float32), found.target[order]


@pytest.fixture(scope="module")
def codes(digits):
  """Their 20 principal components."""
  return jax.jit(lambda x: rep.pca(KEY, x, 20, normalise="global")(x))(digits[0])


def test_pca_against_scikit_learn(digits):
  x = digits[0]
  found = jax.jit(lambda x: rep.pca(KEY, x, 5, powers=8, normalise="global"))(x)
  scaled = (x - x.mean(0)) / np.sqrt(np.square(x - x.mean(0)).mean())
  expected = decomposition.PCA(5, svd_solver="full").fit(scaled)
  np.testing.assert_allclose(
    found.variances, expected.explained_variance_ * 499 / 500, rtol=1e-3
  )
  overlap = np.abs(np.sum(np.asarray(found.components).T * expected.components_, 1))
  np.testing.assert_allclose(overlap, 1, atol=5e-3)
  np.testing.assert_allclose(np.var(found(x), 0), found.variances, rtol=1e-3)


def test_pca_pads_and_survives_dead_features():
  x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
  x[:, 1] = 0.0
  found = rep.pca(KEY, x, 5)
  assert found.scale[1] == 1.0 and np.isfinite(found(x)).all()
  assert np.all(np.asarray(found.components)[:, 3:] == 0)
  np.testing.assert_allclose(np.asarray(found.scale)[[0, 2]], x.std(0)[[0, 2]], rtol=1e-5)
  with pytest.raises(ValueError, match="normalise"):
    rep.pca(KEY, x, 2, normalise="row")


@pytest.mark.parametrize("exact", [True, False])
def test_nearest_against_scikit_learn(codes, exact):
  distance, index = rep.nearest(codes[:73], codes[100:], 7, exact=exact)
  expected = neighbors.NearestNeighbors(n_neighbors=7).fit(codes[100:])
  d, i = expected.kneighbors(codes[:73])
  np.testing.assert_allclose(distance, d, rtol=1e-3)
  assert np.mean(index == i) > 0.99
  own = rep.nearest(codes, codes, 3, exclude_self=True)[1]
  assert not np.any(np.asarray(own) == np.arange(len(codes))[:, None])
  with pytest.raises(ValueError, match="neighbours"):
    rep.nearest(codes, codes[:3], 3, exclude_self=True)


def test_blocks_that_do_not_divide():
  x = jnp.arange(7.0)[:, None]
  np.testing.assert_array_equal(rep.in_blocks(lambda rows: 2 * rows, x, 3), 2 * x)


def test_deep_neighbours_by_hand():
  """Two layers, two neighbours: votes for class 0 are 2 and 1 of 2, so α = 4 − 3 = 1."""
  neighbours = jnp.array([[[0, 1]], [[0, 2]]])
  alpha = rep.nonconformity(neighbours, jnp.array([0, 0, 1]), 2)
  np.testing.assert_array_equal(alpha, [[1, 3]])
  predicted, trust = rep.credibility(alpha, jnp.array([0, 1, 2, 2]))
  assert predicted[0] == 0 and trust[0] == 0.75  # 1, 2 and 2 are at least 1


def test_kmeans_against_scikit_learn(codes):
  y = np.asarray(codes[:, :2])
  found = jax.jit(lambda y, k: rep.kmeans(KEY, y, k, largest=9, iterations=60, restarts=8))(
    y, 5
  )
  expected = cluster.KMeans(5, n_init=20, random_state=0).fit(y)
  np.testing.assert_allclose(found.inertia, expected.inertia_, rtol=0.01)
  assert np.isinf(found.centres[5:]).all() and np.isfinite(found.centres[:5]).all()
  labels = np.asarray(found(y))
  assert set(labels) == set(range(5))
  np.testing.assert_allclose(
    np.stack([y[labels == j].mean(0) for j in range(5)]), found.centres[:5], atol=1e-2
  )


def test_silhouettes_against_scikit_learn(codes):
  y = np.asarray(codes[:200, :3])
  labels = np.random.default_rng(0).integers(0, 4, 200) * 2  # 1, 3 and 5 do not occur
  np.testing.assert_allclose(
    rep.silhouettes(y, labels, 8), metrics.silhouette_samples(y, labels), atol=1e-4
  )
  alone = rep.silhouettes(jnp.array([[0.0], [1.0], [9.0]]), jnp.array([0, 0, 1]), 2)
  np.testing.assert_allclose(alone, [8 / 9, 7 / 8, 0.0], rtol=1e-5)
  assert np.all(rep.silhouettes(y, np.zeros(200, int), 3) == 0)


def test_best_k_finds_the_number_of_blobs():
  centres = 10 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
  y = np.random.default_rng(0).normal(size=(120, 2)) + centres[np.arange(120) % 4]
  found = jax.jit(functools.partial(rep.choose_kmeans, largest=7))(KEY, jnp.float32(y))
  assert found.clusters.k == 4 and found.scores.argmax() == 2
  np.testing.assert_allclose(
    found.silhouette, metrics.silhouette_score(y, found.clusters(jnp.float32(y))), atol=1e-4
  )
  with pytest.raises(ValueError, match="two clusters"):
    rep.choose_kmeans(KEY, jnp.float32(y), least=1)


def test_class_sets_by_hand():
  fractions = rep.class_fractions(
    jnp.array([0, 0, 0, 0, 1, 1]), jnp.array([0, 0, 0, 1, 1, 1]), 3, 2
  )
  np.testing.assert_allclose(fractions, [[0.75, 0.25], [0, 1], [0, 0]])
  np.testing.assert_array_equal(
    rep.class_sets(fractions, jnp.array([0, 1]), 0.3), [[True, False], [False, True]]
  )
  uniform = jnp.full((1, 4), 0.25)
  assert not rep.class_sets(uniform, jnp.array([0]), 0.25).any()  # strict: the set is empty


def test_plausibility_decides_as_the_intersection_does():
  rng = np.random.default_rng(0)
  fractions = jnp.float32(rng.dirichlet(np.full(5, 0.3), (3, 6)))
  clusters = jnp.asarray(rng.integers(0, 6, (3, 100)))
  score = rep.plausibility(fractions, clusters)
  for t in (0.01, 0.05, 0.2):
    sets = np.stack(
      [rep.class_sets(f, k, t) for f, k in zip(fractions, clusters, strict=True)]
    )
    empty = ~sets.all(0).any(1)
    np.testing.assert_array_equal(score <= np.float32(t), empty)
    assert 0 < empty.sum() < 100


def test_umap_curve_and_memberships():
  np.testing.assert_allclose(rep.umap.curve(0.1), (1.577, 0.895), atol=1e-3)
  d = jnp.float32(np.sort(np.random.default_rng(0).uniform(1, 3, (20, 14)), 1))
  p = rep.umap.memberships(d, np.log2(15))
  np.testing.assert_allclose(p.sum(1), np.log2(15), rtol=1e-4)
  np.testing.assert_array_equal(p[:, 0], 1)  # the nearest
  np.testing.assert_allclose(
    rep.umap.memberships(d, np.log2(15), connected=False).sum(1), np.log2(15), rtol=1e-4
  )


def test_umap_graph_is_the_fuzzy_union():
  x = jnp.float32(np.random.default_rng(0).normal(size=(40, 3)))
  distance, index = rep.nearest(x, x, 5, exclude_self=True)
  p = np.asarray(rep.umap.memberships(distance, np.log2(6)))
  dense = np.zeros((40, 40))
  np.put_along_axis(dense, np.asarray(index), p, 1)
  union = dense + dense.T - dense * dense.T
  weight, mutual = rep.umap.symmetric(jnp.asarray(p), index)
  np.testing.assert_allclose(
    weight, np.take_along_axis(union, np.asarray(index), 1), rtol=1e-5
  )
  np.testing.assert_array_equal(mutual, np.take_along_axis(dense.T > 0, np.asarray(index), 1))


@pytest.fixture(scope="module")
def embedded(codes):
  """UMAP fitted to 400 digits, and where it puts the other 100."""

  @jax.jit
  def both(train, others):
    fitted = rep.umap.fit(KEY, train)
    return fitted, rep.umap.transform(KEY, fitted, others)

  return both(codes[:400], codes[400:])


def test_umap_keeps_neighbours_and_places_new_points(codes, digits, embedded):
  fitted, new = embedded
  labels = digits[1]
  assert manifold.trustworthiness(codes[:400], fitted.embedding, n_neighbors=10) > 0.94
  assert manifold.trustworthiness(codes[:400], codes[:400, :2], n_neighbors=10) < 0.9
  vote = neighbors.KNeighborsClassifier(5).fit(fitted.embedding, labels[:400])
  assert vote.score(new, labels[400:]) > 0.85


def test_a_new_point_does_not_depend_on_the_others(codes, embedded):
  fitted, new = embedded
  alone = jax.jit(rep.umap.transform)(KEY, fitted, codes[400:430])
  np.testing.assert_allclose(np.median(np.abs(alone - new[:30])), 0, atol=1e-3)


def test_umap_against_umap_learn(codes, embedded):
  package = pytest.importorskip("umap", reason="umap-learn is not a dependency")
  with np.testing.suppress_warnings():
    found = package.UMAP(n_epochs=200, init="pca", random_state=0).fit(np.asarray(codes[:400]))
  theirs = found.graph_.toarray()
  edges = rep.umap.graph(codes[:400], epochs=10**6)
  ours = np.zeros_like(theirs)
  np.put_along_axis(ours, np.asarray(edges.index), np.asarray(edges.weight), 1)
  np.testing.assert_allclose(np.maximum(ours, ours.T), theirs / theirs.max(), atol=0.01)
  scores = [
    manifold.trustworthiness(codes[:400], y, n_neighbors=10)
    for y in (embedded[0].embedding, found.embedding_)
  ]
  assert abs(scores[0] - scores[1]) < 0.02


def test_affinities_have_the_perplexity():
  x = jnp.float32(np.random.default_rng(0).normal(size=(60, 4)))
  p = np.asarray(rep.affinities(x, 12.0))
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-4)
  np.testing.assert_allclose(p, p.T)
  assert np.all(np.diag(p) == 0)
  expected = manifold._t_sne._joint_probabilities(
    metrics.pairwise_distances(x, squared=True).astype(np.float32), 12.0, 0
  )
  np.testing.assert_allclose(p[np.triu_indices(60, 1)], expected, rtol=0.02, atol=1e-6)


def test_divergence_by_a_slow_loop():
  rng = np.random.default_rng(0)
  y = rng.normal(size=(6, 2))
  p = rng.uniform(size=(6, 6))
  np.fill_diagonal(p, 0)
  p /= p.sum()
  q = np.array(
    [[0 if i == j else 1 / (1 + sum((y[i] - y[j]) ** 2)) for j in range(6)] for i in range(6)]
  )
  q /= q.sum()
  off = ~np.eye(6, dtype=bool)
  np.testing.assert_allclose(
    rep.divergence(jnp.float32(p), jnp.float32(y)),
    np.sum(p[off] * np.log(p[off] / q[off])),
    rtol=1e-4,
  )


def test_networks_learn(codes):
  numbers = {"hidden": (32, 32), "batch": 100, "epochs": 30}
  _, losses = jax.jit(lambda x: rep.parametric_tsne(KEY, x, **numbers))(codes)
  assert losses[-1] < 0.7 * losses[0]
  target = codes[:, :2] * 3
  params, _ = jax.jit(lambda x, y: rep.imitate(KEY, x, y, **numbers))(codes, target)
  error = np.square(rep.embed(params, codes, (32, 32)) - target).mean()
  assert error < 0.05 * np.var(target)
