# Images without CUDA, from the locks of requirements/. Built from the repository's root:
#   docker build --file docker/worker.Dockerfile --target light --tag deepscaler-recipe-light:0.1.0 .
#
#   light   Prefect and the configuration, no torch: the server, the deployments, a worker whose runs are elsewhere
#   cpu     + everything that runs a recipe on a CPU: the embedded recipe, rehearsals
#
# Images are named by exact version. To pin one by content as well, append the digest that
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm
# prints: python:3.11.14-slim-bookworm@sha256:...

FROM python:3.11.14-slim-bookworm AS locked
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv /opt/venv
COPY requirements/orchestration.txt /locks/
RUN /opt/venv/bin/python -m pip install --no-deps --require-hashes --requirement /locks/orchestration.txt

# torch comes from the index that serves the build which is wanted; without one pip's own, a CUDA build of several GB.
FROM locked AS locked-cpu
ARG TORCH_INDEX_URL=
COPY requirements/cpu.txt requirements/torch.txt /locks/
RUN /opt/venv/bin/python -m pip install --no-deps --require-hashes --requirement /locks/cpu.txt \
    && /opt/venv/bin/python -m pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} \
        --requirement /locks/torch.txt

# What both images are besides their packages. UID is for a folder of the host that is mounted as the state.
FROM python:3.11.14-slim-bookworm AS base
ARG UID=1000
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid "$UID" --create-home recipe \
    && install --directory --owner=recipe --group=recipe /var/lib/deepscaler
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/deepscaler \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_HOME=/var/lib/deepscaler/prefect \
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=/var/lib/deepscaler/prefect/results \
    PREFECT_SERVER_MEMO_STORE_PATH=/var/lib/deepscaler/prefect/memo_store.toml \
    XDG_CACHE_HOME=/var/lib/deepscaler/cache \
    HF_HOME=/var/lib/deepscaler/cache/huggingface \
    DEEPSCALER_CACHE=/var/lib/deepscaler/cache/deepscaler-recipe
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
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "docker/healthy.py", "http://127.0.0.1:8080/health"]

FROM base AS cpu
COPY --from=locked-cpu /opt/venv /opt/venv

# Workers of Docker's and of Kubernetes' pools start runs elsewhere, and so are light as well.
FROM locked AS locked-workers
COPY requirements/workers.txt /locks/
RUN /opt/venv/bin/python -m pip install --no-deps --require-hashes --requirement /locks/workers.txt

FROM base AS light
COPY --from=locked-workers /opt/venv /opt/venv
