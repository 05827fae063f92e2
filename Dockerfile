# All bundles with their weights, for the CPU or an NVIDIA GPU: docs/container.md
# Build    docker build --tag covid-lung .
# GPU      docker build --tag covid-lung:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
# Run      docker run --rm --network none --read-only --tmpfs /tmp --user "$(id -u):$(id -g)"
#              --volume "$PWD/data:/data:ro" --volume "$PWD/out:/out" covid-lung
#              run --config_file bundles/ct_drsegunet/configs/inference.yaml --dataset_dir /data --output_dir /out
# Its Python 3.11 is the one that the tests run with.
ARG DEBIAN=bookworm

FROM debian:${DEBIAN}-slim AS environment
# Where PyTorch comes from; if empty, from pip's own index. All other packages always do
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# For example [tracking], of pyproject.toml
ARG EXTRAS=
ENV PATH=/opt/venv/bin:$PATH
ENV PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN pip install --constraint constraints.txt --no-deps ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch
RUN pip install --constraint constraints.txt ".${EXTRAS}" && pip check

FROM environment AS files
# git describe --always --dirty --abbrev=40; it stands in the record of each run
ARG COMMIT=
WORKDIR /opt/covid-lung-bundles
COPY LICENSE ./
COPY common common
COPY bundles bundles
RUN printf '%s' "${COMMIT}" > COMMIT \
    && python -m compileall -q common \
    && chmod -R a+rX .
RUN ls -l bundles/*/models || echo "No weights in bundles/*/models: this image can train, inference needs --weights."

FROM debian:${DEBIAN}-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=environment /opt/venv /opt/venv
COPY --from=files /opt/covid-lung-bundles /opt/covid-lung-bundles
# The root may be read-only: caches lie below /tmp, bytecode is compiled already
ENV PATH=/opt/venv/bin:$PATH
ENV HOME=/tmp
ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
# PyTorch asks for a user's name, which an arbitrary --user does not have
ENV LOGNAME=covid-lung
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG COMMIT=
LABEL org.opencontainers.image.title="COVID lung bundles"
LABEL org.opencontainers.image.description="MONAI bundles for COVID-19 lung imaging. Not a medical device."
LABEL org.opencontainers.image.version="0.1.0"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.revision="${COMMIT}"
WORKDIR /opt/covid-lung-bundles
USER 10001:10001
# As Ctrl-C: Python as process 1 ignores SIGTERM
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5m --timeout=1m CMD ["python", "-c", "import monai.bundle, common.inferers, common.readers.ct"]
ENTRYPOINT ["python", "-m", "monai.bundle"]
CMD ["--help"]
