"""One thread for torch in every process of the suite: small tensors gain nothing from more, and workers share cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
