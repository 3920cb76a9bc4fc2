# The image that trains on NVIDIA GPUs: x86-64, from the locks of requirements/. Built from the repository's root:
#   docker build --file docker/trainer.Dockerfile --tag deepscaler-recipe-trainer:0.1.0 .
#
# CUDA 13.0 is what the locked torch is built for; the host's driver must know it (580 or newer). The devel image has the
# compiler that some kernels are built with when they are first used. Its Python is Ubuntu's 3.12, for which the locks
# hold as they do for 3.11. worker.Dockerfile says how to pin an image by its digest.

FROM nvidia/cuda:13.0.1-devel-ubuntu24.04
ARG UID=1000
# userdel: the base image has given 1000 to a user of its own.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3.12 python3.12-dev python3.12-venv tini \
    && rm -rf /var/lib/apt/lists/* \
    && userdel --remove ubuntu \
    && useradd --uid "$UID" --create-home recipe \
    && install --directory --owner=recipe --group=recipe /var/lib/deepscaler
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python3.12 -m venv /opt/venv
COPY requirements/orchestration.txt requirements/cpu.txt requirements/gpu.txt /locks/
RUN /opt/venv/bin/python -m pip install --no-deps --require-hashes \
    --requirement /locks/orchestration.txt --requirement /locks/cpu.txt --requirement /locks/gpu.txt
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/deepscaler \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_HOME=/var/lib/deepscaler/prefect \
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=/var/lib/deepscaler/prefect/results \
    PREFECT_SERVER_MEMO_STORE_PATH=/var/lib/deepscaler/prefect/memo_store.toml \
    XDG_CACHE_HOME=/var/lib/deepscaler/cache \
    HF_HOME=/var/lib/deepscaler/cache/huggingface \
    DEEPSCALER_CACHE=/var/lib/deepscaler/cache/deepscaler-recipe \
    TRITON_CACHE_DIR=/var/lib/deepscaler/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/var/lib/deepscaler/cache/torchinductor \
    FLASHINFER_WORKSPACE_BASE=/var/lib/deepscaler/cache
WORKDIR /opt/deepscaler
COPY prefect.toml prefect.yaml pyproject.toml ./
COPY configs configs
COPY flows flows
COPY tasks tasks
COPY rl_core rl_core
COPY --chmod=755 docker/entrypoint.sh docker/supervise.sh docker/healthy.py docker/
RUN ln -s /var/lib/deepscaler/runs runs
USER $UID
ENTRYPOINT ["/opt/deepscaler/docker/entrypoint.sh"]
CMD ["prefect", "worker", "start", "--pool", "deepscaler-process", "--limit", "1", "--with-healthcheck"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "docker/healthy.py", "http://127.0.0.1:8080/health"]
