"""Classes that cannot be learnt, and those that the test set seems to lack."""

import numpy as np

from gorae.eda.coverage import class_coverage


def test_classes_with_one_picture_with_none_and_missed_in_test_are_named() -> None:
    truth = np.array([0] * 50 + [1] * 49 + [2])
    proba = np.tile([0.9, 0.06, 0.04, 0.0], (20, 1))

    table = class_coverage(truth, ("a", "b", "c", "d"), test_proba=proba)

    assert table["num_train"].tolist() == [50, 49, 1, 0]
    assert table["num_predicted"].tolist() == [20, 0, 0, 0]
    assert np.allclose(table["expected_test"], [18, 1.2, 0.8, 0])
    assert table["finding"].tolist() == ["", "not seen in test", "one picture", "no picture"]


def test_a_rare_class_may_be_absent_from_a_small_test_set() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    few = class_coverage(truth, ("a", "b"), test_proba=np.tile([1.0, 0.0], (49, 1)))
    many = class_coverage(truth, ("a", "b"), test_proba=np.tile([1.0, 0.0], (50, 1)))
    assert few["finding"].tolist() == ["", ""]
    assert many["finding"].tolist() == ["", "not seen in test"]


def test_several_labels_are_counted_one_by_one_and_predictions_may_be_absent() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=np.float32)
    table = class_coverage(truth, ("a", "b", "c"))
    assert table["num_train"].tolist() == [3, 2, 0]
    assert table["finding"].tolist() == ["", "", "no picture"]
    assert table["num_predicted"].isna().all()
    seen = class_coverage(truth, ("a", "b", "c"), test_proba=np.tile([0.6, 0.6, 0.1], (9, 1)))
    assert seen["num_predicted"].tolist() == [9, 9, 0]
