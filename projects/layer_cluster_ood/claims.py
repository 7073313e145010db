"""What the paper says about Tables 1 and 2 and the times, as checks over measured results."""

from lib.experiment import Claim
from lib.experiment import claims as check
from projects.layer_cluster_ood import checks
from projects.layer_cluster_ood.quantities import metrics

__all__ = ["CLAIMS", "metrics"]

_enough = check.with_seeds(2)

CLAIMS = (
  Claim(
    "above_false_positives",
    source="Table 2, conclusion",
    statement="Every kind of outside input is flagged more often than test images are.",
    expected="each rate above the false positive rate, paired",
    check=_enough(checks.above_false_positives),
  ),
  Claim(
    "most_detected",
    source="Table 2, MNIST",
    statement="At t = 0.05 most outside inputs are flagged and few test images.",
    expected="mean rate above 70 % (paper 83.7), provided that test is below 10 % (5.4)",
    check=_enough(checks.most_detected),
  ),
  Claim(
    "low_rates",
    source="conclusion",
    statement="On SVHN and CIFAR-10 detection rates are often low.",
    expected="mean rate at t = 0.05 below 60 % (paper: 50.5 and 49.6, MNIST 83.7)",
    check=_enough(checks.low_rates),
  ),
  Claim(
    "best_threshold",
    source="sec. 4.4",
    statement="t = 0.05 is the best threshold in relation to false positives.",
    expected="mean rate less false positives higher than at 0.01 and 0.1",
    check=_enough(checks.best_threshold),
  ),
  Claim(
    "kmeans_over_dbscan",
    source="Table 1",
    statement="k-means has a better silhouette than DBSCAN.",
    expected=(
      "median over layers higher with noise as a cluster and without (paper, MNIST: "
      "0.733, 0.699)"
    ),
    check=_enough(checks.kmeans_over_dbscan),
  ),
  Claim(
    "umap_over_tsne",
    source="Table 1",
    statement="UMAP has a better silhouette than parametric t-SNE.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.432)",
    check=_enough(checks.better_silhouette("umap:flat", "tsne:flat")),
  ),
  Claim(
    "umap_over_pca",
    source="Table 1",
    statement="UMAP has a better silhouette than principal components.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.423)",
    check=_enough(checks.better_silhouette("umap:flat", "pca:flat")),
  ),
  Claim(
    "tsne_over_pca",
    source="Table 1",
    statement="Parametric t-SNE has a slightly better silhouette than principal components.",
    expected="median over layers higher, by less than 0.05 (paper: 0.009, 0.020, 0.004)",
    check=_enough(checks.tsne_slightly_over_pca),
  ),
  Claim(
    "flat_over_pool",
    source="Table 1",
    statement="Plain vectors have a better silhouette than pooled ones.",
    expected="median over layers higher, paired (paper, MNIST: 0.733, 0.721)",
    check=_enough(checks.flat_over_pool),
  ),
  Claim(
    "sets_shrink",
    source="sec. 3",
    statement="Class sets have more classes in lower layers than in higher ones.",
    expected="mean size on test images falls from each layer to the next",
    check=_enough(checks.sets_shrink),
  ),
  Claim(
    "one_class_last",
    source="sec. 3",
    statement="Clusters of the last layer ideally hold one class.",
    expected="one class in the last set of more than 90 % of the test images",
    check=_enough(checks.one_class_last),
  ),
  Claim(
    "first_layer",
    source="sec. 1",
    statement="Clusters handle lower layers better than a neighbour search does.",
    expected="with the first layer alone higher mean AUC than Deep k-NN, paired",
    check=_enough(checks.first_layer),
  ),
  Claim(
    "faster_than_dknn",
    source="sec. 4.4",
    statement="Detection is faster than Deep k-NN's neighbour search.",
    expected="ratio of times above 1 for each size of the training set (paper, MNIST: 9)",
    check=_enough(checks.timed("dknn")),
  ),
  Claim(
    "less_memory",
    source="abstract",
    statement="Detection keeps less than Deep k-NN does.",
    expected="bytes read by the compiled detector below those of Deep k-NN for each size",
    check=checks.smaller("dknn"),
  ),
  Claim(
    "no_training_set",
    source="sec. 1",
    statement="The training set need not be kept.",
    expected="the compiled detector reads no more bytes when there are more training examples",
    check=checks.no_training_set,
  ),
  Claim(
    "dknn_credibility",
    source="sec. 4.4",
    statement="Deep k-NN is less credible outside than on test images.",
    expected="mean credibility lower, paired (paper, MNIST: 0.799 test, 0.136 FGSM)",
    check=_enough(checks.credible),
  ),
  Claim(
    "control_attacks",
    source="control",
    statement="The attacks fool the network.",
    expected="accuracy under each attack below 10 % (paper, MNIST: 8.1, 0.0, 2.5, 0.9)",
    check=_enough(checks.attacks_succeed),
    control=True,
  ),
  Claim(
    "control_known_classes",
    source="control",
    statement="Natural inputs are flagged for their classes, not for their style.",
    expected="letters flagged more often than digits from the same generator",
    check=_enough(checks.letters_over_digits),
    control=True,
  ),
  Claim(
    "control_projection",
    source="control",
    statement="With t-SNE or PCA in UMAP's place less is detected.",
    expected="rates less false positives lower, with their own k and with UMAP's",
    check=_enough(checks.projection_detects),
    control=True,
  ),
  Claim(
    "control_silhouette",
    source="control",
    statement="Of two ways to cluster the one with the better silhouette detects more.",
    expected="DBSCAN and pooled vectors: rates less false positives, and mean AUC",
    check=_enough(checks.silhouette_tells),
    control=True,
  ),
  Claim(
    "control_softmax",
    source="control",
    statement="The clusters flag more than the largest softmax at equal false positives.",
    expected="higher for each kind of outside input",
    check=_enough(checks.beats("softmax")),
    control=True,
  ),
  Claim(
    "control_dknn",
    source="control",
    statement="The clusters flag more than Deep k-NN at equal false positives.",
    expected=(
      "higher for each kind of outside input, of Deep k-NN on activations and on 50 components"
    ),
    check=_enough(checks.beats("dknn", "dknn_pca")),
    control=True,
  ),
  Claim(
    "control_dknn_ranking",
    source="control",
    statement="Over all thresholds the clusters rank outside inputs better than Deep k-NN.",
    expected="higher mean AUC, paired, than Deep k-NN on activations and on 50 components",
    check=_enough(checks.ranks_better("dknn", "dknn_pca")),
    control=True,
  ),
  Claim(
    "control_dknn_of_components",
    source="control",
    statement="The clusters are faster than Deep k-NN in the same 50 components.",
    expected="ratio of times above 1 for each size of the training set",
    check=_enough(checks.timed("dknn_pca")),
    control=True,
  ),
  Claim(
    "control_memory_of_components",
    source="control",
    statement="Detection keeps less than Deep k-NN in the same 50 components.",
    expected="bytes read by the compiled detector below those of Deep k-NN for each size",
    check=checks.smaller("dknn_pca"),
    control=True,
  ),
  Claim(
    "control_all_layers",
    source="control",
    statement="The intersection over layers detects more than the last layer alone.",
    expected="higher mean AUC, paired",
    check=_enough(checks.ranks_better("last")),
    control=True,
  ),
  Claim(
    "control_predicted_class",
    source="control",
    statement="Nothing is lost by not asking which class the network predicts.",
    expected="mean AUC at most 0.01 below that of the predicted class's plausibility, paired",
    check=_enough(checks.not_consulted),
    control=True,
  ),
  Claim(
    "control_imitation",
    source="control",
    statement=(
      "A network that imitates UMAP's transform, and needs no training example, detects "
      "as much."
    ),
    expected=(
      "at equal false positives at most 5 points lower for each input, mean AUC at most 0.02"
    ),
    check=_enough(checks.imitation),
    control=True,
  ),
)
