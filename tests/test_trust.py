"""When to trust an answer: calibration, sets, alarms, wrong labels. Each check has a case in which it must fail."""

from dataclasses import replace

from effnet_helpers import evaluation, plotting

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from sklearn.datasets import make_classification

NAMES = ("nominal", "global", "local")


def drawn(images=4000, classes=3, temperature=1.0, seed=0):
    """Probabilities of a model, and labels drawn from what they would be at another temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (images, classes))
    truth = softmax(logits / temperature, axis=1)
    labels = (truth.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1).clip(max=classes - 1)
    return softmax(logits, axis=1).astype(np.float32), labels


# calibration


def test_a_reliability_table_counts_every_image_once():
    probabilities, labels = drawn()
    table = evaluation.reliability_table(probabilities, labels, bins=7)
    assert table["images"].sum() == len(labels)
    right = (probabilities.argmax(axis=1) == labels).mean()
    assert np.average(table["accuracy"], weights=table["images"]) == pytest.approx(right)
    assert ((table["low"] < table["confidence"]) & (table["confidence"] <= table["high"])).all()
    assert ((table["accuracy_low"] <= table["accuracy"]) & (table["accuracy"] <= table["accuracy_high"])).all()


def test_confidence_one_and_a_single_bin_have_a_place():
    table = evaluation.reliability_table(np.eye(2)[[0, 1]], [0, 0])
    assert table[["images", "confidence", "accuracy"]].to_numpy().tolist() == [[2, 1, 0.5]]
    assert len(evaluation.reliability_table(*drawn(50), bins=1)) == 1


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_calibration_error_tells_a_calibrated_model_from_an_overconfident_one(temperature):
    error = evaluation.calibration_error(*drawn(1000, temperature=temperature), resamples=200)
    assert (error.value > error.by_chance) == (temperature > 1)
    assert (error.low > 0) == (temperature > 1)
    assert error.low <= error.high


@pytest.mark.parametrize(("temperature", "images"), [(1.3, 300), (1.6, 100), (1.6, 300), (2.5, 100)])
def test_the_interval_of_a_calibration_error_holds_the_truth_about_as_often_as_it_says(temperature, images):
    everything = evaluation.calibration_error(*drawn(200_000, temperature=temperature), resamples=2).value
    draws = (drawn(images, temperature=temperature, seed=seed) for seed in range(100))
    errors = [evaluation.calibration_error(*draw, resamples=60) for draw in draws]
    assert sum(error.low <= everything <= error.high for error in errors) >= 90, "of 100, in 95 of which it should"
    assert np.mean([error.value for error in errors]) > everything, "few images inflate it"
    assert np.mean([error.high - error.low for error in errors]) < 0.25, "and it says something"


def test_the_interval_of_a_calibrated_model_begins_at_zero_in_nearly_all_draws():
    errors = [evaluation.calibration_error(*drawn(100, seed=seed), resamples=100) for seed in range(60)]
    assert 50 <= sum(error.low == 0 for error in errors) < 60


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature):
    probabilities, labels = drawn(temperature=temperature)
    found = evaluation.fit_temperature(probabilities, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    calibrated = evaluation.apply_temperature(probabilities, found)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)


def test_a_temperature_stays_sober_where_all_is_right_and_takes_zeros():
    probabilities, labels = drawn(200)
    found = evaluation.fit_temperature(probabilities, probabilities.argmax(axis=1))
    confidence = evaluation.apply_temperature(probabilities, found).max(axis=1)
    assert 0.95 < confidence.mean() < 1 - 0.5 / 200
    found = evaluation.fit_temperature(np.eye(3)[labels], labels)
    assert np.isfinite(evaluation.apply_temperature(np.eye(3), found)).all()


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((2, 3)), [0, 1], "apply softmax to logits first"),
        (np.eye(3), [0, 1, 3], "3 whole numbers from 0 to 2"),
        (np.eye(3), [0.0, 1.0, 2.0], "3 whole numbers"),
        (np.zeros((0, 3)), [], "at least one image"),
    ],
)
def test_what_are_no_probabilities_or_labels_is_refused(probabilities, labels, message):
    for function in (evaluation.fit_temperature, evaluation.reliability_table, evaluation.conformal_thresholds):
        with pytest.raises(ValueError, match=message):
            function(probabilities, labels)


# sets


@pytest.mark.parametrize("per_class", [False, True])
def test_sets_hold_the_right_class_as_often_as_promised(per_class):
    sizes, held = [], []
    for seed in range(25):
        probabilities, labels = drawn(400, temperature=1.7, seed=seed)  # badly calibrated: the promise holds anyway
        thresholds = evaluation.conformal_thresholds(probabilities[:100], labels[:100], 0.9, per_class)
        sets = evaluation.prediction_sets(probabilities[100:], thresholds)
        table = evaluation.set_coverage(sets, labels[100:], NAMES)
        held.append(table["coverage"].to_numpy())
        sizes.append(table["mean_size"][0])
    overall, *classes = np.mean(held, axis=0)
    assert 0.885 < overall < 0.93
    assert 1 < np.mean(sizes) < 3
    if per_class:
        assert min(classes) > 0.88


def test_thresholds_are_those_of_mapie():
    class Answers:
        """What MAPIE asks of a fitted classifier: here a row's features are its probabilities."""

        classes_, n_features_in_ = np.arange(3), 3

        def __sklearn_is_fitted__(self):
            return True

        def fit(self, features, labels):
            return self

        def predict(self, features):
            return np.argmax(features, axis=1)

        def predict_proba(self, features):
            return np.asarray(features)

    probabilities, labels = drawn(500, temperature=1.5)
    probabilities = probabilities.astype(np.float64)
    for coverage in (0.8, 0.9, 0.95):
        rival = SplitConformalClassifier(Answers(), confidence_level=coverage, prefit=True)
        rival.conformalize(probabilities[:173], labels[:173])
        theirs = rival.predict_set(probabilities[173:])[1][:, :, 0]
        thresholds = evaluation.conformal_thresholds(probabilities[:173], labels[:173], coverage)
        ours = evaluation.prediction_sets(probabilities[173:], thresholds)
        filled = ~theirs.any(axis=1)
        np.testing.assert_array_equal(ours[~filled], theirs[~filled])
        assert (ours[filled].sum(axis=1) == 1).all()


def test_too_few_images_for_a_promise_put_every_class_into_the_set():
    probabilities, labels = drawn(8)
    assert evaluation.conformal_thresholds(probabilities, labels, 0.9).tolist() == [0, 0, 0]
    assert evaluation.conformal_thresholds(*drawn(9), 0.9).min() > 0
    thresholds = evaluation.conformal_thresholds(*drawn(9), 0.9, per_class=True)
    assert evaluation.prediction_sets(probabilities, thresholds).all()


def test_no_set_is_empty_and_the_rest_is_counted():
    sets = evaluation.prediction_sets(np.full((2, 3), 1 / 3) + [[0.1, -0.1, 0]] * 2, np.ones(3))
    assert sets.tolist() == [[True, False, False]] * 2
    table = evaluation.set_coverage(sets, [0, 1], NAMES)
    assert table["class"].tolist() == ["all", "nominal", "global"]
    assert table["coverage"].tolist() == [0.5, 1, 0]
    assert table["mean_size"].tolist() == table["single"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="one for each class"):
        evaluation.prediction_sets(np.eye(3), [0.5, 0.5])


# alarms


def test_an_operating_point_keeps_its_recall_on_new_images():
    recalls, costs = [], []
    for seed in range(40):
        probabilities, labels = drawn(1200, seed=seed)
        point = evaluation.choose_operating_point(probabilities[:400], labels[:400], NAMES, NAMES[1:], 0.95)
        assert point.promised
        counted = evaluation.count_alarms(point, probabilities[400:], labels[400:], NAMES)
        recalls.append(counted.recall)
        costs.append(counted.false_alarms)
    assert np.mean(recalls) + 0.002 >= 0.95 and np.mean(recalls) < 0.965
    assert np.mean(costs) < 0.8, "an alarm for every image would keep the recall too"


def test_an_operating_point_says_when_it_has_too_few_images_to_promise():
    probabilities, labels = drawn(60)
    point = evaluation.choose_operating_point(probabilities, labels, NAMES, ["local"], 0.99)
    assert not point.promised
    counted = evaluation.count_alarms(point, probabilities, labels, NAMES)
    assert counted.recall == 1
    assert counted.false_alarms < 1
    assert evaluation.raises_alarm(point, probabilities, NAMES).sum() == counted.found + counted.false
    low, high = counted.recall_interval
    assert str(counted).startswith(f"100.0 % of {counted.wanted} found (95 % interval {100 * low:.1f}–{100 * high:.1f}")


@pytest.mark.parametrize("classes", [[], ["torn"], list(NAMES)])
def test_an_operating_point_is_about_some_of_the_classes(classes):
    with pytest.raises(ValueError, match="some of nominal, global, local, not all"):
        evaluation.choose_operating_point(*drawn(60), NAMES, classes)


# labels


@pytest.fixture(scope="module")
def planted():
    """Features, labels of which one in twenty is wrong, and which."""
    features, labels = make_classification(400, 20, n_informative=12, n_classes=3, class_sep=2.5, random_state=0)
    rng = np.random.default_rng(0)
    wrong = rng.choice(400, 20, replace=False)
    labels = labels.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, 3, 20)) % 3
    return features, labels, wrong


def test_planted_wrong_labels_are_found(planted):
    features, labels, wrong = planted
    probabilities = evaluation.out_of_fold_probabilities(features, labels)
    suspects = evaluation.suspected_labels(probabilities, labels, NAMES)
    hits = suspects["index"].isin(wrong)
    assert hits.mean() > 0.75
    assert hits.sum() / len(wrong) > 0.65
    assert hits[: len(suspects) // 3].mean() > 0.8, "the surest are mostly right"
    assert suspects["quality"].is_monotonic_increasing
    assert (suspects["label"] != suspects["suggested"]).all()


def test_probabilities_are_of_heads_that_have_not_seen_the_image(planted):
    _, labels, _ = planted
    noise = np.random.default_rng(1).normal(size=(len(labels), 150))  # nothing to learn, much to learn by heart
    probabilities = evaluation.out_of_fold_probabilities(noise, labels, strength=1.0)
    assert (probabilities.argmax(axis=1) == labels).mean() < 0.45


def test_a_head_has_seen_no_other_image_of_a_group():
    random = np.random.default_rng(1)
    patients, labels = np.repeat(np.arange(60), 5), np.repeat(np.arange(60) % 2, 5)
    features = random.normal(size=(60, 150))[patients] + random.normal(0, 0.1, (300, 150))  # of the patient alone
    parted, whole = (
        (evaluation.out_of_fold_probabilities(features, labels, groups=groups).argmax(axis=1) == labels).mean()
        for groups in (None, patients.astype(str))
    )
    assert parted > 0.95, "it knew each patient, and so the label"
    assert whole < 0.75, "there is nothing to learn"
    few = [f"{label}/{i % 3}" for i, label in enumerate(labels)]
    with pytest.raises(ValueError, match="groups of images of the smallest class: expected at least 5"):
        evaluation.out_of_fold_probabilities(features, labels, groups=few)
    assert evaluation.out_of_fold_probabilities(features, labels, 3, groups=few).shape == (300, 2)


def test_a_label_that_is_alone_is_not_judged_in_one_sentence_of_ours():
    labels = np.repeat([0, 1, 2], [20, 1, 20])  # and none of the fourth class
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 41)
    with pytest.warns(UserWarning) as said:
        suspects = evaluation.suspected_labels(probabilities, labels, ["cats", "dogs, large", "birds", "fish"])
    assert [str(each.message) for each in said] == [
        'The one label of "dogs, large" cannot be judged: it has no other beside it'
    ]
    assert len(suspects) and "dogs, large" not in set(suspects["label"])


def test_out_of_fold_needs_images_for_every_fold():
    with pytest.raises(ValueError, match="at least 5, one for each fold"):
        evaluation.out_of_fold_probabilities(np.zeros((9, 2)), [0] * 5 + [1] * 4)


# two models


def test_two_models_are_compared_image_by_image():
    labels = np.zeros(100, int)
    first, second = (
        evaluation.report_from_probabilities(np.eye(2)[np.isin(range(100), wrong).astype(int)], labels, ["a", "b"])
        for wrong in ([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 10])
    )
    found = evaluation.compare_answers(first, second)
    assert found.only_first.tolist() == [10]
    assert found.only_second.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert (len(found.both), found.neither.tolist()) == (90, [1])
    assert found.difference == pytest.approx(0.07)
    assert found.p_value == pytest.approx(2 * 10 / 2**9)  # of nine disagreements at most one on this side
    low, high = found.interval
    assert low < 0.07 < high and low > 0
    assert evaluation.compare_answers(first, first).p_value == 1
    with pytest.raises(ValueError, match="same images in the same order"):
        evaluation.compare_answers(first, evaluation.report_from_probabilities(np.eye(2), [0, 1], ["a", "b"]))


# none of the classes, and all of it together


def clusters(images=400, seed=0):
    """Features of three classes in different directions, their labels and a model's probabilities."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    features = rng.normal(0, 0.3, (images, 24)) + 2 * np.eye(3, 24)[labels]
    return features, labels, softmax(3 * features[:, :3], axis=1)


def test_what_lies_in_no_direction_of_a_class_is_far_from_all():
    features, labels, _ = clusters()
    centres = evaluation.class_centres(features, labels)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-6)
    threshold = evaluation.upper_threshold(evaluation.centre_distance(clusters(seed=1)[0], centres), 0.05)
    foreign = np.random.default_rng(2).normal(0, 0.3, (50, 24)) + 2 * np.eye(1, 24, 9)
    assert (evaluation.centre_distance(foreign, centres) > threshold).all()
    others = evaluation.centre_distance(clusters(4000, seed=3)[0], centres)
    assert 0.02 < (others > threshold).mean() < 0.08
    once, longer = (evaluation.centre_distance(times * foreign, centres) for times in (1, 7))
    np.testing.assert_allclose(once, longer, atol=1e-6)
    with pytest.raises(ValueError, match="at least one of each"):
        evaluation.class_centres(features, 2 * labels)


def test_a_threshold_keeps_the_share_of_false_marks_on_average():
    rng = np.random.default_rng(0)
    shares = [1 - evaluation.upper_threshold(rng.random(60), 0.1) for _ in range(400)]  # of a uniform score
    assert np.mean(shares) == pytest.approx(0.1 * 60 / 61, abs=0.006)
    assert evaluation.upper_threshold([3.0, 1.0], 0.01) == 3


def test_trust_is_what_its_parts_are():
    features, labels, probabilities = clusters()
    train, train_labels, _ = clusters(seed=5)
    options = {"features": features, "train_features": train, "train_labels": train_labels}
    trust = evaluation.fit_trust(probabilities, labels, NAMES, **options, alarm_classes=["local"], alarm_recall=0.9)
    calibrated = evaluation.apply_temperature(probabilities, trust.temperature)
    assert trust.set_thresholds == tuple(evaluation.conformal_thresholds(calibrated, labels, 0.9, per_class=True))
    new, _, answers = clusters(1000, seed=6)
    judged = evaluation.apply_trust(trust, answers, NAMES, new)
    np.testing.assert_array_equal(judged.probabilities, evaluation.apply_temperature(answers, trust.temperature))
    assert judged.sets.any(axis=1).all()
    assert 0.01 < judged.none_of_these.mean() < 0.09
    assert judged.alarm.mean() == pytest.approx(1 / 3, abs=0.1)
    foreign = 2 * np.eye(24)[[9] * 5]
    sure = np.eye(3)[[0] * 5]
    assert evaluation.apply_trust(trust, sure, NAMES, foreign).none_of_these.all()
    assert not evaluation.apply_trust(trust, sure, NAMES).none_of_these.any(), "softmax alone does not see it"
    assert evaluation.apply_trust(trust, np.full((1, 3), 1 / 3), NAMES).none_of_these.all()


def test_a_temperature_from_the_same_images_leaves_the_promise_as_it_is():
    held = []
    for seed in range(60):
        probabilities, labels = drawn(540, temperature=1.7, seed=seed)
        trust = evaluation.fit_trust(probabilities[:40], labels[:40], NAMES)
        judged = evaluation.apply_trust(trust, probabilities[40:], NAMES)
        held.append(judged.sets[np.arange(500), labels[40:]].mean())
    assert 0.89 < np.mean(held) < 0.96, "by class the rank rounds up, from some thirteen images of each"


def test_few_images_promise_over_all_classes_together():
    _, labels, probabilities = clusters(24)
    trust = evaluation.fit_trust(probabilities, labels, NAMES)
    assert len(set(trust.set_thresholds)) == 1
    assert (trust.distance, trust.centres, trust.alarm_classes) == (None, None, ())
    few = replace(trust, images=9)
    shares = [each.most_false_marks for each in (trust, few, replace(few, distance=0.1))]
    assert shares == pytest.approx([0.05, 1 / 10, 2 / 10])
    assert evaluation.apply_trust(trust, probabilities, NAMES).alarm is None


def test_a_reliability_diagram_says_its_numbers():
    probabilities, labels = drawn(300)
    table = evaluation.reliability_table(probabilities, labels)
    with plotting.collect() as figures:
        plotting.reliability_diagram({"as it is": table, "again": table})
    ((_, said),) = figures
    assert said.count("→") == 1 + 2 * len(table)
    first = table.iloc[0]
    assert f"as it is: {first['confidence']:.2f} → {first['accuracy']:.2f} of {first['images']:.0f}" in said
    with pytest.raises(ValueError, match="number of tables: expected 1 to 3"):
        plotting.reliability_diagram({})


# what was measured


def test_what_the_package_says_of_its_measurements_is_in_the_tables():
    table = evaluation.measured("belonging")
    foreign = table[table["foreign"] != "classes left out"].groupby("score")[["marked", "false_marks"]].mean()
    assert foreign.loc["centre or entropy", "marked"] > 0.99
    assert foreign.loc[["confidence", "entropy", "energy"], "marked"].max() < 0.37
    assert foreign["false_marks"].max() < 0.06
    near = table[table["foreign"] == "classes left out"].groupby(["set", "score"])["marked"].mean()
    assert near["flowers", "entropy"] > near["flowers", "centre"]
    assert near["textile", "centre"] > near["textile", "entropy"]
    assert near.max() < 0.4, "seldom found"
    tuned = evaluation.measured("belonging_fine_tuned").query("without == 'none'")
    assert set(tuned["set"]) >= {"textile", "flowers"} and set(tuned["features"]) == {"head", "fine-tuned"}
    assert tuned.query("score in ('centre', 'centre or entropy')")["marked"].min() > 0.99
    labels = evaluation.measured("wrong_labels").groupby("set")[["accuracy", "precision", "recall"]].mean().round(2)
    said = {"flowers": [0.94, 0.81, 0.76], "pollen": [0.83, 0.29, 0.79], "textile": [0.72, 0.14, 0.80]}
    for name, figures in said.items():
        assert labels.loc[name].tolist() == pytest.approx(figures, abs=0.011)
