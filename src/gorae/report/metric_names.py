"""Names of metrics as they are read, in English and Korean."""

from gorae.report.texts import Text

METRIC_NAMES: dict[str, Text] = {
    "accuracy": Text("Accuracy", "정확도"),
    "macro_f1": Text("Macro F1", "매크로 F1"),
    "micro_f1": Text("Micro F1", "마이크로 F1"),
    "f_beta": Text("F-beta", "F-베타"),
    "balanced_accuracy": Text("Balanced accuracy", "균형 정확도"),
    "mcc": Text("Matthews correlation", "매튜스 상관계수"),
    "qwk": Text("Quadratic weighted kappa", "이차 가중 카파"),
    "log_loss": Text("Log loss", "로그 손실"),
    "roc_auc": Text("ROC AUC", "ROC AUC"),
    "roc_auc_macro": Text("Macro ROC AUC", "매크로 ROC AUC"),
    "partial_auc": Text("Partial AUC", "부분 AUC"),
    "probabilistic_f_beta": Text("Probabilistic F-beta", "확률 F-베타"),
    "map_at_k": Text("MAP@k", "MAP@k"),
    "top_k_accuracy": Text("Top-k accuracy", "상위 k 정확도"),
    "mae": Text("Mean absolute error", "평균 절대 오차"),
    "rmse": Text("Root mean squared error", "평균 제곱근 오차"),
    "weighted_multi_task": Text("Weighted multi-task score", "가중 다중 과제 점수"),
}


def metric_name(metric: str) -> Text:
    """The metric as it is read; a user's own keeps its name."""
    return METRIC_NAMES.get(metric, Text(metric, metric))
