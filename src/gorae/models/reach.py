"""Whether pretrained weights can be had at all, told at once and without torch."""

import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants

from gorae.errors import UserError
from gorae.models.plan import LENET5, TORCHVISION, ModelPlan, is_user_class

# Looking a host up can hang for longer than any socket's own limit, so the whole attempt is
# given up after this time. TRUST T24 asks for an answer within 5 s.
ANSWER_TIMEOUT_S = 3.0


def require_reachable(plan: ModelPlan) -> None:
    """Stop before any work where timm's weights are in no cache and the hub does not answer.

    What is found here may still not fit; ``load_model`` decides that.

    Raises:
        UserError: With the place where the file is expected.
    """
    name = plan.name
    if plan.weights != "hub" or name.startswith((TORCHVISION, LENET5)) or is_user_class(name):
        return
    architecture = name.partition(".")[0]
    hub = Path(constants.HF_HUB_CACHE)
    torch_home = os.environ.get("TORCH_HOME", "~/.cache/torch")
    caches = [
        (hub, f"models--*--{architecture}*/snapshots/*/*"),
        (Path(torch_home).expanduser() / "hub" / "checkpoints", f"{architecture}*"),
    ]
    if any(next(folder.glob(pattern), None) for folder, pattern in caches):
        return
    expected = f"{hub}/models--timm--{name}*/snapshots/*/model.safetensors"
    require_answer(constants.ENDPOINT, name=name, expected=expected)


def require_answer(url: str, *, name: str, expected: str) -> None:
    """One quick attempt to reach the host of ``url``, so that nothing hangs offline.

    Raises:
        UserError: It does not answer in time.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        raise not_fetched(name, expected, "HF_HUB_OFFLINE is set")
    answers: list[str] = []
    attempt = threading.Thread(target=_ask, args=(url, answers), daemon=True)
    attempt.start()
    attempt.join(ANSWER_TIMEOUT_S)
    if not answers:
        raise not_fetched(name, expected, f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
    if answers[0]:
        raise not_fetched(name, expected, answers[0])


def _ask(url: str, answers: list[str]) -> None:
    """Append "" when the host of ``url`` answers, whatever it says, else the reason."""
    parts = urlsplit(url)
    request = urllib.request.Request(  # noqa: S310 - timm's and torchvision's own addresses
        f"{parts.scheme}://{parts.netloc}/", method="HEAD"
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S):  # noqa: S310 - as above
            answers.append("")
    except urllib.error.HTTPError:
        answers.append("")
    except OSError as error:
        answers.append(str(error))


def not_fetched(name: str, expected: str, reason: str) -> UserError:
    """The message for pretrained weights that are neither here nor to be had."""
    return UserError(
        f"The pretrained weights of {name} are not in the cache and cannot be fetched "
        f"({reason}). Expected: {expected}. Go online once, copy that file from a machine "
        "that has it, set model.weights to the path of a weight file, or start from random "
        'weights with model.weights = "none".'
    )
